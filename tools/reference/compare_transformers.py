"""Compares `moslim` with transformers (and PEFT) on a model folder: token ids, log-probabilities, greedy text.

    python compare_transformers.py MODEL [--adapter DIR] [--text TEXT] [--moslim BIN] [--tolerance 1e-4]

Anything that transformers warns about while loading is an error, as is any difference beyond the tolerance.
Ran with torch 2.15.0, transformers 5.23.0 and 4.57.3, peft 0.21.2.
Nothing of MOSLIM's build or tests needs this script.
"""

import argparse
import json
import logging
import subprocess
import sys
import warnings

import torch
import transformers

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high."
)


class Complaints(logging.Handler):
    """Keeps every warning of a logger."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def load(arguments):
    complaints = Complaints()
    logging.getLogger("transformers").addHandler(complaints)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # What PEFT does to transformers is between them.
        warnings.simplefilter("ignore", FutureWarning)
        tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
        model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
        if arguments.adapter:
            import peft

            model = peft.PeftModel.from_pretrained(model, arguments.adapter)
    complaints.texts += [str(warning.message) for warning in caught]
    return tokenizer, model.eval(), complaints.texts


def moslim(arguments, command, *more):
    call = [arguments.moslim, command, "--model", arguments.model, *more]
    if arguments.adapter:
        call += ["--adapter", arguments.adapter]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--adapter")
    parser.add_argument("--text", default=STORY)
    parser.add_argument("--moslim", default="target/release/moslim")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    tokenizer, model, problems = load(arguments)

    ours = json.loads(moslim(arguments, "logprobs", "--text", arguments.text, "--json"))
    ids = tokenizer(arguments.text, return_tensors="pt").input_ids
    if ids[0].tolist() != ours["ids"]:
        problems.append(f"ids: {ours['ids']}, transformers {ids[0].tolist()}")
        ids = torch.tensor([ours["ids"]])
    with torch.no_grad():
        logprobs = model(ids).logits.log_softmax(-1)
    theirs = logprobs[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
    difference = (theirs - torch.tensor(ours["logprobs"])).abs().max().item()
    if not difference <= arguments.tolerance:
        problems.append(f"log-probabilities differ by {difference:.2e}, allowed {arguments.tolerance:.0e}")

    compared = ""
    if tokenizer.chat_template is None:
        n_new = 40
        prompt = tokenizer(arguments.text[:20], return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            # One row has no padding; without the argument transformers 4 says that it chose one.
            longer = model.generate(**prompt, max_new_tokens=n_new, do_sample=False, pad_token_id=0)
        whole, start = (tokenizer.decode(row, skip_special_tokens=True) for row in (longer[0], prompt.input_ids[0]))
        text = moslim(
            arguments, "generate", "--prompt", arguments.text[:20], "--temperature", "0", "--max-new-tokens", str(n_new)
        )
        if whole.removeprefix(start) != text.removesuffix("\n"):
            problems.append(f"greedy text: {text!r}, transformers {whole.removeprefix(start)!r}")
        compared = f", greedy text of {n_new} tokens"

    for problem in problems:
        print(f"{arguments.model}: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(
        f"{arguments.model}: transformers {transformers.__version__}: no warning, {ids.shape[1]} ids equal, "
        f"log-probabilities within {difference:.1e}{compared}"
    )


if __name__ == "__main__":
    main()
