"""Logistic regression on the words of prompt and answer, to compare reward models with.

    python bag_of_words.py TRAIN TEST [--without-prompt] [--choose-by accuracy] [--validation 0.1] [--seed 0] [--json]

TRAIN and TEST are MOSLIM's JSON lines with `prompt`, `response` and `labels`.
Features (counts or TF-IDF of single words and pairs), C and class weights are chosen on prompts kept from TRAIN.
The temperature ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)) is fitted there too.
Prints measures on TEST with 95 % bootstrap intervals over prompts; ECE has 15 bins of equal width.
Ran with scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6.
"""

import argparse
import itertools
import json

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

N_BINS = 15
N_DRAWS = 1000
VECTORIZERS = {"counts": CountVectorizer, "tf-idf": TfidfVectorizer}
CS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def text(record, with_prompt):
    prompt = record["prompt"]
    turns = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt]
    return " ".join([*turns, record["response"]] if with_prompt else [record["response"]])


def labelled(records, objective, with_prompt=True):
    """Texts, levels and numbers of the prompts of the answers that have a label."""
    records = [record for record in records if record["labels"].get(objective) is not None]
    prompts = [json.dumps(record["prompt"], sort_keys=True) for record in records]
    levels = np.array([str(record["labels"][objective]) for record in records])
    texts = [text(record, with_prompt) for record in records]
    return texts, levels, np.unique(prompts, return_inverse=True)[1]


def logits(model, texts):
    values = model.decision_function(texts)
    return values if values.ndim == 2 else np.stack([np.zeros_like(values), values], axis=1)


def measures(logits, classes, levels, prompts, rng):
    """Accuracy, balanced accuracy and ECE, each with an interval."""
    probabilities = np.exp(log_softmax(logits, axis=1))
    hits = classes[probabilities.argmax(axis=1)] == levels
    confidences = probabilities.max(axis=1)
    bins = np.minimum((confidences * N_BINS).astype(int), N_BINS - 1)
    # All three are made of sums over answers, so that a draw of prompts only counts prompts.
    of_level = levels[:, None] == np.unique(levels)
    of_bin = bins[:, None] == np.arange(N_BINS)
    parts = [of_level, of_level * hits[:, None], of_bin * (hits - confidences)[:, None]]
    rows = np.concatenate(parts, axis=1).astype(float)
    by_prompt = np.zeros((prompts.max() + 1, rows.shape[1]))
    np.add.at(by_prompt, prompts, rows)
    n_prompts, k = len(by_prompt), of_level.shape[1]

    def of_counts(counts):
        sums = counts @ by_prompt
        n, right, gaps = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
        recalls = np.divide(right, n, out=np.full_like(n, np.nan), where=n > 0)
        total = n.sum(axis=1)
        return np.stack(
            [right.sum(axis=1) / total, np.nanmean(recalls, axis=1), np.abs(gaps).sum(axis=1) / total], axis=1
        )

    values = of_counts(np.ones((1, n_prompts)))[0]
    drawn = of_counts(rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=N_DRAWS))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    names = ["accuracy", "balanced_accuracy", "ece"]
    return {name: [values[i], low[i], high[i]] for i, name in enumerate(names)}


def fit(texts, levels, prompts, arguments):
    """The best model on the prompts kept from training, its settings, and its temperature."""
    splitter = GroupShuffleSplit(1, test_size=arguments.validation, random_state=arguments.seed)
    training, kept = next(splitter.split(texts, levels, prompts))
    rng = np.random.default_rng(arguments.seed)
    best = None
    for name, weights in itertools.product(VECTORIZERS, [None, "balanced"]):
        for c in CS:
            model = make_pipeline(
                VECTORIZERS[name](ngram_range=(1, 2), min_df=2, token_pattern=r"\w+|[^\w\s]"),
                LogisticRegression(C=c, class_weight=weights, max_iter=2000),
            )
            model.fit([texts[row] for row in training], levels[training])
            found = logits(model, [texts[row] for row in kept])
            value = measures(found, model.classes_, levels[kept], prompts[kept], rng)[arguments.choose_by][0]
            if best is None or value > best[0]:
                settings = {"features": name, "C": c, "class_weight": weights, "on_validation": value}
                best = (value, model, settings, found)
    _, model, settings, found = best
    label = np.searchsorted(model.classes_, levels[kept])
    loss = lambda log_t: -log_softmax(found / np.exp(log_t), axis=1)[np.arange(len(kept)), label].mean()
    return model, settings, float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--without-prompt", action="store_true", help="reads the words of answers alone")
    parser.add_argument("--choose-by", choices=["balanced_accuracy", "accuracy"], default="balanced_accuracy")
    parser.add_argument("--validation", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    train, test = read(arguments.train), read(arguments.test)
    report = {}
    for objective in sorted({name for record in train for name in record["labels"]}):
        with_prompt = not arguments.without_prompt
        model, settings, temperature = fit(*labelled(train, objective, with_prompt), arguments)
        texts, levels, prompts = labelled(test, objective, with_prompt)
        found = logits(model, texts)
        rng = lambda: np.random.default_rng(arguments.seed)
        values = measures(found, model.classes_, levels, prompts, rng())
        calibrated = measures(found / temperature, model.classes_, levels, prompts, rng())
        report[objective] = {
            "n": len(levels),
            "prompts": int(prompts.max() + 1),
            "majority": np.unique(levels, return_counts=True)[1].max() / len(levels),
            **values,
            "ece_calibrated": calibrated["ece"],
            "temperature": temperature,
            **settings,
        }
    if arguments.json:
        print(json.dumps(report))
        return
    for objective, values in report.items():
        print(f"{objective}: {values['n']} answers to {values['prompts']} prompts, majority {values['majority']:.3f}")
        for name in ["accuracy", "balanced_accuracy", "ece", "ece_calibrated"]:
            value, low, high = values[name]
            print(f"  {name:18} {value:.3f} ({low:.3f} to {high:.3f})")
        chosen = ", ".join(f"{name} {values[name]}" for name in ["features", "C", "class_weight"])
        print(f"  chosen: {chosen}; temperature {values['temperature']:.2f}")


if __name__ == "__main__":
    main()
