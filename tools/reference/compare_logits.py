"""Compares what the example `finetune` of moslim-lm wrote with transformers, or with PEFT for an adapter.

    python compare_logits.py BASE OUT [--tolerance 1e-4]

BASE is the model folder that was trained, OUT what the example wrote.
Ran with torch 2.15.0, transformers 5.23.0, peft 0.21.2.
"""

import argparse
import json
import pathlib
import sys
import warnings

import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    # What PEFT does to transformers is between them.
    warnings.simplefilter("ignore", FutureWarning)
    expected = json.loads((arguments.out / "expected.json").read_text())
    is_adapter = (arguments.out / "adapter_config.json").exists()
    folder = arguments.base if is_adapter else arguments.out
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if is_adapter:
        import peft

        model = peft.PeftModel.from_pretrained(model, arguments.out)
    with torch.no_grad():
        logits = model.eval()(torch.tensor([expected["ids"]])).logits[0, -1]
    difference = (logits - torch.tensor(expected["last_logits"])).abs().max().item()
    print(f"{arguments.out}: largest difference of a logit {difference:.1e}")
    sys.exit(0 if difference <= arguments.tolerance else 1)


if __name__ == "__main__":
    main()
