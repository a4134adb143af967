"""What a run wrote, read and shown: tables, statistics, the report. Knows run folders, not methods."""
