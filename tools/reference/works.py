"""The PyTorch side of a speed comparison: one process executes one piece of work as often as it is told to.

usage: works.py WORK MODEL [--threads 2] [--no-gradient-checkpointing]
  WORK   matmul         the product of two matrices of 1024 x 1024, whatever the model
         train          one AdamW step of a hand-written Llama, 16 rows x 128 tokens, every token predicted
         generate-16    sampling with a hand-written Llama and a static key-value cache: 16 rows, 32 + 64 tokens
         generate-64    transformers' `generate`: 64 rows, 32 + 64 tokens
         rloo           one step of TRL's RLOOTrainer: 16 prompts x 4 completions, 32 + 64 tokens, beta 0.05
         score          transformers' LlamaForSequenceClassification, 12 labels: 256 answers of 20 to 400 tokens
         logprobs       log-probabilities of 2048 tokens over a vocabulary of 151936, from hidden states
  MODEL  stories260k, llama-7m, llama-25m, llama-125m   (random float32 weights, standard deviation 0.02, seed 0)
  --no-gradient-checkpointing   for rloo only: turn off what TRL turns on by default

Protocol, by lines on standard output and standard input; everything else goes to standard error:
  after preparing and one warm-up execution     {"ready": true, "parameters": N, "torch": "2.x", "threads": 2}
  for every line "run" one execution, then      {"seconds": s, "peak_bytes": b, "base_bytes": a}
a is the resident memory just before the execution and b the highest during it; memory that the allocator kept from an
earlier execution is in both. The program ends with code 0 at the end of the input, with 2 if WORK or MODEL is unknown.

Needs Linux (/proc/self/clear_refs), torch, and for the works that name them transformers and trl.
Seen to work with torch 2.15.0, transformers 5.24.0, trl 1.16.0, Python 3.11, on the CPU.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections import namedtuple

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a library prints goes to standard error

Shape = namedtuple("Shape", "vocab hidden ffn layers heads kv_heads tied")
MODELS = {
    "stories260k": Shape(512, 64, 172, 5, 8, 4, True),
    "llama-7m": Shape(4096, 256, 688, 6, 8, 8, False),
    "llama-25m": Shape(4096, 512, 1376, 7, 8, 8, False),
    "llama-125m": Shape(32000, 768, 2048, 14, 12, 12, True),
}
WORKS = ["matmul", "train", "generate-16", "generate-64", "rloo", "score", "logprobs"]
PAD, BOS, EOS, FIRST_TOKEN = 0, 1, 2, 3  # ids below FIRST_TOKEN are never drawn
PROMPT, NEW = 32, 64
RMS_EPS, ROPE_THETA, STD = 1e-5, 10000.0, 0.02

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("work", choices=WORKS)
parser.add_argument("model", choices=MODELS)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--no-gradient-checkpointing", action="store_true")
options = parser.parse_args()
shape = MODELS[options.model]

os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
warnings.filterwarnings("ignore")

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(options.threads)
torch.manual_seed(0)

# ---- protocol ----

def resident(field):
    """VmRSS or VmHWM of this process in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

class Driver:
    def ready(self, parameters):
        self.answer(ready=True, parameters=parameters, torch=torch.__version__, threads=torch.get_num_threads())

    def next_run(self):
        """Waits for the next "run" and starts the measurement; false at the end of the input."""
        line = sys.stdin.readline()
        if not line:
            return False
        if line.strip() != "run":
            sys.exit(f"works.py: expected the line 'run', got {line!r}")
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")  # VmHWM starts again from VmRSS
        self.base = resident("VmRSS")
        self.start = time.perf_counter()
        return True

    def done(self):
        seconds = time.perf_counter() - self.start
        self.answer(seconds=seconds, peak_bytes=resident("VmHWM"), base_bytes=self.base)

    def answer(self, **fields):
        print(json.dumps(fields), file=answers, flush=True)

def serve(driver, parameters, execute):
    execute()
    driver.ready(parameters)
    while driver.next_run():
        execute()
        driver.done()

def count(model):
    return sum(p.numel() for p in model.parameters())

def random_tokens(*size):
    return torch.randint(FIRST_TOKEN, shape.vocab, size)

def matmul(driver):
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    serve(driver, a.numel(), torch.inference_mode()(lambda: a @ b))

# ---- hand-written Llama ----

def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin

class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.head_dim = s.hidden // s.heads
        kv = s.kv_heads * self.head_dim
        self.grouped = s.kv_heads != s.heads
        linear = lambda inputs, outputs: nn.Linear(inputs, outputs, bias=False)
        self.norm1, self.norm2 = nn.RMSNorm(s.hidden, eps=RMS_EPS), nn.RMSNorm(s.hidden, eps=RMS_EPS)
        self.q, self.k, self.v = linear(s.hidden, s.hidden), linear(s.hidden, kv), linear(s.hidden, kv)
        self.o = linear(s.hidden, s.hidden)
        self.gate, self.up, self.down = linear(s.hidden, s.ffn), linear(s.hidden, s.ffn), linear(s.ffn, s.hidden)

    def forward(self, x, cos, sin, cache, start):
        rows, length, _ = x.shape
        heads = lambda z: z.view(rows, length, -1, self.head_dim).transpose(1, 2)
        y = self.norm1(x)
        q, k, v = rotate(heads(self.q(y)), cos, sin), rotate(heads(self.k(y)), cos, sin), heads(self.v(y))
        if cache is not None:
            end = start + length
            cache[0][:, :, start:end], cache[1][:, :, start:end] = k, v
            k, v = cache[0][:, :, :end], cache[1][:, :, :end]
        # several tokens at once are only ever put in at the start, so the plain causal mask fits
        y = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1, enable_gqa=self.grouped)
        x = x + self.o(y.transpose(1, 2).reshape(rows, length, -1))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))

class Llama(nn.Module):
    def __init__(self, s, positions=256):
        super().__init__()
        self.embed = nn.Embedding(s.vocab, s.hidden)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.hidden, eps=RMS_EPS)
        self.head = nn.Linear(s.hidden, s.vocab, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=STD)
        if s.tied:
            self.head.weight = self.embed.weight
        half = s.hidden // s.heads // 2
        angles = torch.arange(positions)[:, None] * ROPE_THETA ** (-torch.arange(half) / half)
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, cache=None, start=0, last_only=False):
        cos, sin = (table[start : start + ids.shape[1]] for table in (self.cos, self.sin))
        x = self.embed(ids)
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, cache and cache[i], start)
        return self.head(self.norm(x[:, -1:] if last_only else x))

def new_cache(s, rows, length):
    size = (rows, s.kv_heads, length, s.hidden // s.heads)
    return [(torch.zeros(size), torch.zeros(size)) for _ in range(s.layers)]

def sample(logits):
    return torch.multinomial(logits.softmax(-1), 1)

@torch.inference_mode()
def generate(model, prompts, new, cache, choose=sample):
    ids, start, chosen = prompts, 0, []
    for _ in range(new):
        logits = model(ids, cache, start, last_only=True)[:, -1]
        start += ids.shape[1]
        ids = choose(logits)
        chosen.append(ids)
    return torch.cat(chosen, 1)

def train(driver):
    model = Llama(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = random_tokens(16, 129)

    def execute():
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        del logits
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    serve(driver, count(model), execute)

def generate_16(driver):
    model, prompts, cache = Llama(shape).eval(), random_tokens(16, PROMPT), new_cache(shape, 16, PROMPT + NEW)
    serve(driver, count(model), lambda: generate(model, prompts, NEW, cache))

# ---- transformers ----

def transformers_config(**more):
    import transformers
    transformers.logging.set_verbosity_error()
    # transformers asks this, and an installation without a GPU need not be able to answer
    torch.cuda.is_current_stream_capturing = lambda: False
    transformers.utils.import_utils.is_cuda_stream_capturing = lambda: False
    sizes = dict(vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.ffn)
    sizes |= dict(num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads)
    sizes |= dict(max_position_embeddings=512, tie_word_embeddings=shape.tied)
    numbers = dict(rms_norm_eps=RMS_EPS, rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA})
    tokens = dict(pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS)
    return transformers.LlamaConfig(**sizes, **numbers, **tokens, initializer_range=STD, **more)

def generate_64(driver):
    from transformers import LlamaForCausalLM
    model, prompts = LlamaForCausalLM(transformers_config()).eval(), random_tokens(64, PROMPT)
    settings = dict(min_new_tokens=NEW, max_new_tokens=NEW, do_sample=True, top_k=0, temperature=1.0, use_cache=True)

    def execute():
        rows = model.generate(prompts, attention_mask=torch.ones_like(prompts), pad_token_id=PAD, **settings)
        assert rows.shape == (64, PROMPT + NEW)
    serve(driver, count(model), execute)

def score(driver):
    from transformers import LlamaForSequenceClassification
    model = LlamaForSequenceClassification(transformers_config(num_labels=12)).eval()
    texts = [random_tokens(20 + (i * 97) % 381) for i in range(256)]

    @torch.inference_mode()
    def execute():
        for i in range(0, len(texts), 32):
            ids = nn.utils.rnn.pad_sequence(texts[i : i + 32], batch_first=True, padding_value=PAD)
            logits = model(input_ids=ids, attention_mask=(ids != PAD).long(), use_cache=False).logits
            assert logits.shape == (32, 12)
    serve(driver, count(model), execute)

def logprobs(driver):
    hidden, matrix = torch.randn(2048, shape.hidden), torch.randn(151936, shape.hidden) * STD
    chosen = torch.randint(151936, (2048, 1))
    compute = lambda: F.log_softmax(hidden @ matrix.T, -1).gather(1, chosen)
    serve(driver, matrix.numel(), torch.inference_mode()(compute))

# ---- TRL ----

def word_tokenizer():
    """Every id is one word, so a text of n words has n tokens; no special tokens are added."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    words = ["<pad>", "<s>", "</s>"] + [f"t{i}" for i in range(FIRST_TOKEN, shape.vocab)]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>")

def rloo(driver):
    config = transformers_config()
    from datasets import Dataset
    from transformers import LlamaForCausalLM, TrainerCallback
    from trl import RLOOConfig, RLOOTrainer
    class OneStepPerRun(TrainerCallback):
        """A training step begins when the driver says so; the first is the warm-up."""

        def on_step_begin(self, args, state, control, **_):
            if state.global_step > 0 and not driver.next_run():
                raise EOFError  # should_training_stop would only be looked at after one more step

        def on_step_end(self, args, state, control, model, **_):
            if state.global_step > 1:
                return driver.done()
            assert state.num_input_tokens_seen == 64 * (PROMPT + NEW)
            driver.ready(count(model))

    tokenizer = word_tokenizer()
    texts = [tokenizer.decode(ids) for ids in random_tokens(256, PROMPT)]
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(folder)  # TRL loads the reference model from where the model is
        settings = RLOOConfig(
            output_dir=folder,
            # the work (TRL's defaults: 8 completions a step, 2 a prompt, of at most 512 tokens, ended by an end token)
            per_device_train_batch_size=64, num_generations=4, max_completion_length=NEW,
            generation_kwargs={"min_new_tokens": NEW},
            # said again, but TRL's defaults
            gradient_accumulation_steps=1, num_iterations=1, beta=0.05, temperature=1.0,
            # TRL's default is True; False only with --no-gradient-checkpointing
            gradient_checkpointing=not options.no_gradient_checkpointing,
            # the machine: float32 on the CPU (defaults: bfloat16, a GPU if there is one, pinned memory)
            bf16=False, use_cpu=True, dataloader_pin_memory=False,
            # no end, no files, no logs (defaults: 3 epochs, a checkpoint every 500 steps, a log every 10)
            max_steps=10**9, save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
        )
        trainer = RLOOTrainer(
            model=LlamaForCausalLM.from_pretrained(folder),
            reward_funcs=lambda completions, **_: [float(text.count("7")) for text in completions],
            args=settings, train_dataset=Dataset.from_dict({"prompt": texts}), processing_class=tokenizer,
            callbacks=[OneStepPerRun()],
        )
        assert trainer.ref_model is not None
        try:
            trainer.train()
        except EOFError:
            pass

globals()[options.work.replace("-", "_")](Driver())
