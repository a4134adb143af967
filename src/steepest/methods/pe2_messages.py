"""What PE2 says to its optimizer (arXiv 2311.05661, section 3 and its appendix), turn by turn, in our own words.

user        [tutorial], two-step description          assistant   ready (not generated)
user        prompt, [full text], examples, questions  assistant   reasoning
user        [history], prompt, limits                 assistant   new prompt
user        asks for a summary, with a history only   assistant   summary
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steepest.parts.directions import shown_error
from steepest.parts.text import MetaPrompt, percent
from steepest.parts.updates import slots_rule
from steepest.tasks.task import Task
from steepest.types import Example, Message, Outcome, Scored

INPUT = "<input>"
"""Stands for the input in the full text."""

DESCRIPTION = MetaPrompt(
    en="""\
You will improve a prompt: a text that is joined with each input and tells a language model what to do.
Step 1: You get the prompt and {count} examples with the model's answers. Find out whether the prompt describes the \
task that the examples show, and what should change.
Step 2: With what you found, you write a better prompt.""",
    zh="""\
你要改进一条提示词：它与每个输入拼在一起，告诉语言模型做什么。
第一步：你会看到提示词，以及{count}个例子和模型的回答。请判断提示词是否说清了例子所体现的任务，应当怎样修改。
第二步：根据你的发现，写一条更好的提示词。""",
)
"""The two-step description of the work, the first turn. Slots: {count}."""

READY = MetaPrompt(en="Yes. Please show me the prompt and the examples.", zh="好的。请给我看提示词和例子。")
"""What the optimizer is made to say to that."""

CONTEXT = MetaPrompt(
    en="The full text that the model reads, with <input> in the place of the input:\n{context}",
    zh="模型读到的全文，其中<input>是输入的位置：\n{context}",
)
"""The context specification. Slots: {context}."""

QUESTIONS = MetaPrompt(
    en="""\
The expected answers are right; the prompt may be wrong. For each example, answer briefly and give a reason:
1. Is the model answer right?
2. Does it follow the prompt?
3. Does the prompt describe the task that the input and the expected answer show?
4. Must the prompt change to get the expected answer?
5. If so, what exactly should change?""",
    zh="""\
正确答案是对的，提示词可能有错。请就每个例子简短回答，并说明理由：
1. 模型回答对吗？
2. 它照着提示词做了吗？
3. 提示词说清了输入和正确答案所体现的任务吗？
4. 要得到正确答案，必须修改提示词吗？
5. 如果是，具体应当改什么？""",
)
"""The step-by-step reasoning template."""

REMARK = MetaPrompt(
    en="The expected answers are right; the prompt may be wrong. How should the prompt change?",
    zh="正确答案是对的，提示词可能有错。提示词应当怎样修改？",
)
"""What is asked where the reasoning template is switched off."""

MATERIAL = MetaPrompt(
    en="Prompt: {prompt}\n\n{context}{examples}\n\n{questions}",
    zh="提示词：{prompt}\n\n{context}{examples}\n\n{questions}",
)
"""The second turn. Slots: {prompt}, {context}, {examples}, {questions}."""

EXAMPLE = MetaPrompt(en="Example {number}\n{example}", zh="例子{number}\n{example}")

REASONING_LENGTH = 400
"""Characters of the model's reasoning that are shown, from its end."""

REASONING = MetaPrompt(en="Reasoning: {reasoning}", zh="推理过程：{reasoning}")
"""A line of an example, where the model wrote more than its answer."""

WRITE = MetaPrompt(
    en="""\
Now look at your reasoning again and write a better prompt.{history}
Prompt: {prompt}
With the new prompt, the model must no longer fail on these examples, nor on others of this task. Do not copy the \
examples.{slots}{change} Write at most {max_words} words.
Put the new prompt in <prompt>...</prompt>.""",
    zh="""\
现在请再看看你的推理，写一条更好的提示词。{history}
提示词：{prompt}
有了新的提示词，模型不能再答错这些例子，也不能答错这个任务的其他例子。不要照抄例子。{slots}{change}最多写{max_words}个字。
把新的提示词写在<prompt>...</prompt>里。""",
)
"""The last turn. Slots: {prompt}, {history}, {change}, {max_words}, {slots}."""

CHANGE = MetaPrompt(en=" Change at most {words} words.", zh="最多改动{words}个字。")
"""The step size. Slots: {words}."""

PAST = MetaPrompt(
    en="""\
Earlier prompts, with scores from 0 to 100 (higher is better) and what was changed; go on where changes helped:
{entries}
""",
    zh="""\
以前的提示词，附有0到100的分数（越高越好）和所做的修改；请沿着有效的修改继续：
{entries}
""",
)
"""The history. Slots: {entries}."""

ENTRY = MetaPrompt(
    en="Prompt: {prompt}\nScore: {score}\nSummary: {summary}",
    zh="提示词：{prompt}\n分数：{score}\n总结：{summary}",
)
"""One earlier prompt."""

SUMMARY = MetaPrompt(
    en="""\
Sum up in at most {max_words} words what was wrong with the old prompt and what you changed.
Put the summary in <summary>...</summary>.""",
    zh="""\
用最多{max_words}个字总结旧的提示词有什么问题，你改动了什么。
把总结写在<summary>...</summary>里。""",
)
"""Asks for the entry in the history that an edit leaves. Slots: {max_words}."""

TUTORIAL = MetaPrompt(
    en="""\
How to write good prompts.
A prompt is read together with one input at a time, by a model that knows nothing else about the task. So say what \
the task is: what comes in, what must come out, and how one follows from the other.
Be specific. "Add the prices of all items, then take off the discount" helps more than "solve the problem".
Say in which form the answer must be given: a number, a word, one of several options.
If the task needs several steps, name them in their order, or ask the model to think step by step before it answers.
Name what is easily missed, such as exceptions, units or items that do not count.
Say what to do rather than what not to do.
Keep it short: every sentence must earn its place, and contradictions confuse.
Write rules for all inputs, never for a single one. When a prompt fails, ask which rule the model did not know, and \
write down that rule.""",
    zh="""\
怎样写好提示词。
模型每次把提示词和一个输入放在一起读，除此之外对任务一无所知。所以要说清任务：给出的是什么，要得到什么，怎样从前者得到后者。
要具体。“先把所有商品的价格加起来，再减去折扣”比“请解题”更有用。
说明答案的形式：一个数、一个词，还是几个选项之一。
任务需要几个步骤时，按顺序写出来，或者请模型先一步一步思考再回答。
点明容易忽略的地方，例如例外、单位、不应计入的项目。
多说该做什么，少说不该做什么。
写得简短：每句话都要有用，前后不能矛盾。
写适合所有输入的规则，不要只针对某一个。提示词失败时，想想模型不知道哪条规则，把它写出来。""",
)
"""General advice on prompts, for the variant with a tutorial."""


@dataclass(frozen=True)
class Messages:  # size: one field per message
    """Everything PE2 says to its optimizer."""

    tutorial: MetaPrompt = TUTORIAL
    description: MetaPrompt = DESCRIPTION
    ready: MetaPrompt = READY
    material: MetaPrompt = MATERIAL
    context: MetaPrompt = CONTEXT
    example: MetaPrompt = EXAMPLE
    reasoning: MetaPrompt = REASONING
    questions: MetaPrompt = QUESTIONS
    remark: MetaPrompt = REMARK
    write: MetaPrompt = WRITE
    change: MetaPrompt = CHANGE
    past: MetaPrompt = PAST
    entry: MetaPrompt = ENTRY
    summary: MetaPrompt = SUMMARY

    def opening(
        self,
        prompt: str,
        rows: Sequence[Outcome],
        task: Task,
        *,
        tutorial: bool = False,
        description: bool = True,
        context: bool = True,
        template: bool = True,
    ) -> tuple[Message, ...]:
        """The turns up to the reasoning, with or without their parts."""
        language = task.language
        intro = [self.tutorial.fill(language)] if tutorial else []
        turns: tuple[Message, ...] = ()
        if description:
            intro.append(self.description.fill(language, count=str(len(rows))))
            turns = Message("user", "\n\n".join(intro)), Message("assistant", self.ready.fill(language))
            intro = []
        material = self.material.fill(
            language,
            prompt=prompt,
            context=self.context.fill(language, context=full_text(prompt, task)) + "\n\n" if context else "",
            examples="\n\n".join(self._example(number, row, task) for number, row in enumerate(rows, start=1)),
            questions=(self.questions if template else self.remark).fill(language),
        )
        return (*turns, Message("user", "\n\n".join([*intro, material])))

    def closing(
        self, prompt: str, task: Task, *, max_words: int, step_size: int | None = None, past: str = ""
    ) -> Message:
        """The turn that asks for the new prompt; `past` is the history as shown, empty for none."""
        language = task.language
        return Message(
            "user",
            self.write.fill(
                language,
                prompt=prompt,
                history="\n" + self.past.fill(language, entries=past) if past else "",
                change="" if step_size is None else self.change.fill(language, words=str(step_size)),
                max_words=str(max_words),
                slots=slots_rule(task),
            ),
        )

    def shown_past(self, prompt: Scored, summary: str, task: Task) -> str:
        """One earlier prompt; the initial one has no summary."""
        text, score = prompt.candidate.text, percent(prompt.mean) if prompt.scores else "-"
        return self.entry.fill(task.language, prompt=text, score=score, summary=summary or "-")

    def _example(self, number: int, row: Outcome, task: Task) -> str:
        """A row with its right answer, the model's, and the model's reasoning where it wrote any."""
        lines = shown_error(task, row)
        written = row.output.strip()
        if row.answer is not None and written != row.answer:
            lines += "\n" + self.reasoning.fill(task.language, reasoning=written[-REASONING_LENGTH:])
        return self.example.fill(task.language, number=str(number), example=lines)


def columns(task: Task) -> dict[str, str]:
    """What stands for each further column of the rows in the full text."""
    return {name: f"<{name}>" for example in task.train[:1] for name in example.meta}


def full_text(prompt: str, task: Task) -> str:
    """What the task model reads under a prompt, system turn first, with <input>, <column> in place of the row."""
    turns = task.template.render(prompt, Example("", INPUT, "", columns(task)))
    return "\n\n".join(turn.content for turn in turns)
