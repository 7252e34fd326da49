#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does a Qwen2.5-style checkpoint run end to end with its own tokenizer.json and chat template?

Makes one with transformers and tokenizers: random weights with biases on q, k and v, a tied head, a byte-level BPE with
Qwen2's normaliser and pattern, a template in tokenizer_config.json, two ids that end a turn. Then compares, number by
number, what transformers and moe make of it: the render, the ids, greedy answers of two turns; fine-tunes it with moe and
compares the answers of what was saved.
    python3 tools/check_qwen2_chat.py build/moe
Made with torch 2.13.0, transformers 5.24.0.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QUESTIONS = ["What is a lantern?", "Sort fabcd, naïve 你好!"]
N = 16


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def make(moe, folder):
    text = run(moe, "data", "chat", "-n", 400, "--turns", 2) + run(moe, "data", "generate", "-n", 400)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(text.splitlines(), trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    template = run(moe, "template", "show", "--template", "qwen2.5")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>",
                                                pad_token="<|endoftext|>", chat_template=template)
    torch.manual_seed(5)
    end = [fast.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")]
    config = transformers.Qwen2Config(vocab_size=len(fast), hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                                      num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
                                      tie_word_embeddings=True, rope_theta=1e6, eos_token_id=end[0])
    model = transformers.Qwen2ForCausalLM(config)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.15) if p.dim() > 1 else p.normal_(0.5, 0.3)
    model.generation_config.eos_token_id = end
    model.save_pretrained(folder)
    fast.save_pretrained(folder)


def answers(folder):
    """Greedy answers of transformers to QUESTIONS in one conversation, and what it renders and encodes at its end."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    messages, texts = [], []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
        ids = ids if torch.is_tensor(ids) else ids["input_ids"]
        with torch.no_grad():
            new = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=N)[0, ids.shape[1]:]
        texts.append(tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        messages.append({"role": "assistant", "content": texts[-1]})
    render = tokenizer.apply_chat_template(messages, tokenize=False)
    return texts, messages, render, tokenizer(render, add_special_tokens=False)["input_ids"]


def compare(moe, folder, work, what):
    texts, messages, render, ids = answers(folder)
    (work / "context.json").write_text(json.dumps({"messages": messages, "add_generation_prompt": False}))
    ours = run(moe, "template", "render", "--template", folder, "--context", work / "context.json")
    assert ours == render, (what, "render", ours, render)
    (work / "render.txt").write_text(render)
    ours = json.loads(run(moe, "tokenizer", "encode", "--tokenizer", folder, "--file", work / "render.txt", "--json",
                          "--parse-special"))["ids"]
    assert ours == ids, (what, "ids")
    (work / "questions.txt").write_text("\n".join(QUESTIONS) + "\n")
    ours = json.loads(run(moe, "chat", folder, "--auto", work / "questions.txt", "--temp", 0, "-n", N, "--json"))["answers"]
    for mine, theirs in zip(ours, texts):
        assert mine["answer"].strip() == theirs.strip(), (what, mine, theirs)
    print(f"{what}: render, {len(ids)} ids and {len(texts)} greedy answers are equal; the last: {texts[-1]!r}")


def main():
    moe = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        folder = work / "qwen2"
        make(moe, folder)
        compare(moe, folder, work, "as made by transformers")
        run(moe, "data", "chat", "-n", 200, "--turns", 2, "--out", work / "chats.jsonl")
        run(moe, "train", "stage=sft", f"data.path={work}/chats.jsonl", f"model.init_from={folder}", f"run_dir={work}/sft",
            "train.steps=200", "optim.lr=0.003", "data.seq_len=256", "train.batch_size=4", "train.eval_every=0")
        checkpoint = max((work / "sft/checkpoints").glob("ckpt-*"))
        assert json.loads((checkpoint / "config.json").read_text())["model_type"] == "qwen2"
        compare(moe, checkpoint, work, "fine-tuned by moe")


if __name__ == "__main__":
    main()
