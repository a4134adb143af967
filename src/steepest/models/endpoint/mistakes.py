"""Refusals that concern every request, as errors that say what to do."""

from __future__ import annotations

from collections.abc import Sequence

from steepest.errors import ModelError, nearest
from steepest.models.endpoint.replies import Refusal, shortened
from steepest.models.endpoint.settings import Settings


def mistake(settings: Settings, refusal: Refusal, offered: Sequence[str] = ()) -> ModelError:
    """The error for a refusal of kind unreachable, key, place or everyone; `offered` are the server's models."""
    url, said = settings.url, shortened(settings.redacted(refusal.reason))
    if refusal.kind == "unreachable":
        return ModelError(f"no server can be reached at {url} ({said}); start it, or correct the url")
    if refusal.kind == "key":
        # What the server says here may show parts of the key.
        status = refusal.reason.partition(":")[0]
        if settings.key:
            return ModelError(
                f"{url} refuses the key in {settings.key_env} ({status}); put the right one there, or name another "
                "variable with key_env"
            )
        return ModelError(
            f"{url} wants a key ({status}), and the variable {settings.key_env} is not set; export it, or name "
            "another variable with key_env"
        )
    if refusal.kind == "place" and offered and settings.model not in offered:
        known = settings.redacted(nearest(settings.model, offered))
        return ModelError(f"{url} has no model {settings.model!r}; {shortened(known)}")
    if refusal.kind == "place":
        return ModelError(
            f"{url} does not know the model {settings.model!r} or is not the address of an API ({said}); correct "
            "the model's name or the url, which usually ends in /v1"
        )
    return ModelError(f"{url} will answer no such request ({said}); {_remedy(refusal.reason)}")


def all_failed(settings: Settings, count: int, reason: str) -> ModelError:
    """The error where nothing was answered any more."""
    return ModelError(
        f"{settings.url} answered none of {count} requests, the last with {reason!r}; see the server's log, or correct "
        "the model's options, then resume"
    )


def _remedy(reason: str) -> str:
    """What to do about it, by the words of the refusal."""
    lower = reason.lower()
    if "max_completion_tokens" in lower:
        return "set the model's option max_tokens_field=max_completion_tokens"
    if "continue_final_message" in lower:
        return "this server needs the model's option prefill=false"
    for name in ("temperature", "seed", "stop", "max_tokens"):
        if name in lower:
            return f"""leave the field out with the model's option extra={{"{name}": null}}"""
    if "quota" in lower or "http 402" in lower:
        return "add credit to the account, then resume"
    if "http 3" in lower:
        return "give the url that it redirects to"
    return "correct the model's options"
