"""Any Gymnasium environment as a task: what a task does by itself."""

from polserve.training.tasks.task import Task

CONTROL = Task("control")
