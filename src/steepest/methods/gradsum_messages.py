"""What GRAD-SUM asks the optimizer: advice after one response, a summary of advice, a new prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steepest.parts.text import MetaPrompt, shown_input
from steepest.tasks.judge import EXPECTED, TASK
from steepest.tasks.task import Task
from steepest.types import Outcome

SHOWN = 1200
"""Characters of a response that the optimizer is shown, from its end."""

GRADIENT = MetaPrompt(
    en="""\
{task}A language model was given this prompt.
Prompt: {prompt}

With it, the model did not do well here:
Input: {input}
{expected}Model answer: {answer}
{explanation}
How should the prompt change so that the model does better in such cases? Do not correct the model's words; \
say in one or two sentences what the prompt should ask for. Write them in <feedback> tags.""",
    zh="""\
{task}一个语言模型收到了这个提示词。
提示词：{prompt}

用它时，模型在这里做得不好：
输入：{input}
{expected}模型回答：{answer}
{explanation}
提示词应当怎样修改，模型才能在这类情况下做得更好？\
不要改正模型的话，只用一两句话说明提示词应当要求什么，写在 <feedback> 标签里。""",
)
EXPLANATION = MetaPrompt(en="Explanation: {text}\n", zh="说明：{text}\n")

SUMMARY = MetaPrompt(
    en="""\
{task}A prompt for a language model was tried on many inputs. After each failure somebody wrote how it should change.
Prompt: {prompt}

Feedback:
{feedback}

Sum this up in one short paragraph that holds for the whole task. Keep what is said often; leave out single inputs, \
names and numbers. Write the paragraph in <summary> tags.""",
    zh="""\
{task}一个语言模型的提示词在许多输入上试过。每次失败后，都有人写下它应当怎样修改。
提示词：{prompt}

反馈：
{feedback}

请把这些反馈概括成一小段，适用于整个任务。保留多次提到的内容，不要写具体的输入、名字和数字。\
把这段话写在 <summary> 标签里。""",
)
EDIT = MetaPrompt(
    en="""\
{task}Improve this prompt for a language model.
Prompt: {prompt}

Feedback:
{feedback}

Write a new prompt that follows the feedback and suits every input of the task.{slots} \
Write only the new prompt, in <prompt> tags.""",
    zh="""\
{task}请改进这个给语言模型的提示词。
提示词：{prompt}

反馈：
{feedback}

写一个新的提示词，采纳这些反馈，并适用于该任务的所有输入。{slots}只写新的提示词，放在 <prompt> 标签里。""",
)
SLOTS = MetaPrompt(
    en=" Keep {slots} in it exactly so: the inputs are put there.",
    zh="其中的 {slots} 必须原样保留，输入会填在那里。",
)


@dataclass(frozen=True)
class Messages:
    """What the optimizer is asked."""

    gradient: MetaPrompt = GRADIENT
    """How the prompt should change, after one response."""
    summary: MetaPrompt = SUMMARY
    """One paragraph out of many gradients."""
    edit: MetaPrompt = EDIT
    """A new prompt out of that paragraph."""

    def ask_gradient(self, task: Task, description: str, prompt: str, error: Outcome) -> str:
        """The message about one imperfect response."""
        expected, told, language = error.example.target, error.explanation, task.language
        return self.gradient.fill(
            language,
            task=_task(language, description),
            prompt=prompt,
            input=shown_input(task, error.example),
            expected=EXPECTED.fill(language, target=expected) if expected else "",
            answer=error.output.strip()[-SHOWN:],
            explanation=EXPLANATION.fill(language, text=told) if told else "",
        )

    def ask_summary(self, task: Task, description: str, prompt: str, gradients: Sequence[str]) -> str:
        """The message about the gradients of one prompt."""
        return self.summary.fill(
            task.language,
            task=_task(task.language, description),
            prompt=prompt,
            feedback="\n".join(f"- {gradient}" for gradient in gradients),
        )

    def ask_edit(self, task: Task, description: str, prompt: str, feedback: Sequence[str]) -> str:
        """The message that asks for a new prompt; `feedback` is the summary alone, or the gradients themselves."""
        slots = task.template.prompt_slots(task.seeds[0])
        named = ", ".join(f"{{{slot}}}" for slot in slots)
        return self.edit.fill(
            task.language,
            task=_task(task.language, description),
            prompt=prompt,
            feedback=feedback[0] if len(feedback) == 1 else "\n".join(f"- {each}" for each in feedback),
            slots=SLOTS.fill(task.language, slots=named) if slots else "",
        )


def _task(language: str, description: str) -> str:
    return TASK.fill(language, description=description) if description else ""
