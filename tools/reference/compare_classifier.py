"""Compares a reward model's folder that MOSLIM wrote with transformers, or with PEFT for an adapter.

    python compare_classifier.py FOLDER [--base BASE] [--tolerance 1e-4]

FOLDER has an `objectives.json` with golden answers: their tokens, and what every head puts out before calibration.
BASE is the model folder that an adapter belongs to.
Anything that transformers warns about while loading is an error, as is any difference beyond the tolerance.
Ran with torch 2.15.0, transformers 5.24.0, peft 0.21.2.
"""

import argparse
import json
import logging
import pathlib
import re
import sys
import warnings

import torch
import transformers


class Complaints(logging.Handler):
    """Keeps every warning of a logger."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def load(folder, base, n_outputs):
    """The classifier, and what transformers complained about."""
    complaints = Complaints()
    logging.getLogger("transformers").addHandler(complaints)
    of_class = transformers.AutoModelForSequenceClassification
    if not (folder / "adapter_config.json").exists():
        return of_class.from_pretrained(folder, dtype=torch.float32), complaints.texts
    import peft

    model = of_class.from_pretrained(base, dtype=torch.float32, num_labels=n_outputs)
    # The base is a language model: its vocabulary matrix is left over and the heads come with the adapter.
    known = {("score.weight", "MISSING"), ("lm_head.weight", "UNEXPECTED")}
    rows = lambda text: set(re.findall(r"^(\S+) +\| (\w+)", text, re.MULTILINE)) - {("Key", "Status")}
    texts = [text for text in complaints.texts if not rows(text) or rows(text) - known]
    return peft.PeftModel.from_pretrained(model, folder), texts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--base", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    folder = arguments.folder
    if (folder / "adapter_config.json").exists() and not arguments.base:
        parser.error(f"{folder} has an adapter, expected --base")
    golden = json.loads((folder / "objectives.json").read_text()).get("golden", [])
    if not golden:
        sys.exit(f"{folder}: objectives.json has no golden answers")
    n_outputs = sum(len(head) for head in golden[0]["outputs"])

    warnings.simplefilter("error")
    # What PEFT does to transformers is between them.
    warnings.simplefilter("ignore", FutureWarning)
    model, problems = load(folder, arguments.base, n_outputs)
    if model.config.num_labels != n_outputs:
        problems.append(f"{model.config.num_labels} labels for {n_outputs} golden outputs")
    largest = 0.0
    for number, answer in enumerate(golden, 1):
        with torch.no_grad():
            logits = model.eval()(torch.tensor([answer["prompt"] + answer["response"]])).logits[0]
        expected = torch.tensor(sum(answer["outputs"], []))
        if logits.shape != expected.shape:
            problems.append(f"answer {number}: {logits.numel()} logits for {expected.numel()} golden outputs")
            continue
        difference = (logits - expected).abs().max().item()
        # Written so that what is not a number counts.
        if not difference <= arguments.tolerance:
            problems.append(f"answer {number}: a logit differs by {difference:.1e}, allowed {arguments.tolerance:.0e}")
        largest = max(largest, difference)
    for problem in problems:
        print(f"{folder}: {problem}", file=sys.stderr)
    print(f"{folder}: {len(golden)} answers, {n_outputs} logits each, largest difference {largest:.1e}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
