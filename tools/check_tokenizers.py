#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our tokenizers against Hugging Face `tokenizers` (0.23) on random Unicode strings.

  check_tokenizers.py BINARY [--strings N] [--seed S] [--only NAME] [--vocabularies DIR]
  check_tokenizers.py BINARY --write tests/golden/tokenizers

Builds tokenizers of every kind with that library (small vocabularies, trained on text made here), encodes and decodes
random strings with both, with special tokens parsed and as text, and stops at the first difference. --write keeps the
files and some strings with the library's answers for the tests. --vocabularies adds published files found in DIR:
gpt2.tiktoken, minimind_tokenizer.json, mistral_tokenizer.model.v1, sentencepiece_test_unigram.model.
"""
import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

BLOCKS = [(0x20, 0x7E)] * 12 + [
    (0, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF),
    (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F),
    (0x2070, 0x209F), (0x2150, 0x218F), (0x2460, 0x24FF), (0x2600, 0x26FF), (0x3000, 0x303F), (0x3040, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFF00, 0xFFEF), (0x1D400, 0x1D7FF),
    (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x20000, 0x2A6DF)]
WORDS = ["the", "The", "unhappiness", "don't", "DON'T", "I'LL", "we've", "123", "4567", "3.14", "a", "HelloWorld", "http://x.y/z?q=1",
         "foo_bar", "\u4e2d\u6587", "\u8001\u5e08", "\u043f\u0440\u0438\u0432\u0435\u0442", "na\u00efve", "e\u0301", "\u017f", "'\u017f", "\u00bd", "\u2167",
         "\U0001F600", "\U0001F468\u200d\U0001F469", "\u2581", "##ing", "</w>", "\r\n", "\n\n", "\t", "    ", "  ", "\u3000", "\u00a0",
         "\u200b", "\u180e", "...", "!?", "==>", "<0x41>", "/", "//\n"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "<tool>", "<mask>"]


def assigned(c):
    # U+061D is punctuation since Unicode 14; the library's table of punctuation is older.
    return c != "\u061d" and unicodedata.category(c) not in ("Cn", "Cs", "Co")


def known(name, text):
    """The library's table of scripts is older: some symbols, Arabic and Devanagari marks have changed since."""
    old = lambda c: ord(c) < 0x600 or 0x980 <= ord(c) < 0x1F900 or ord(c) >= 0x20000
    return name != "words-scripts" or all(map(old, text))


def random_string(rng):
    parts = []
    for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 13])):
        kind = rng.random()
        if kind < 0.45:
            parts.append(rng.choice(WORDS))
        elif kind < 0.52:
            parts.append(rng.choice(SPECIALS))
        elif kind < 0.6:
            parts.append(" " * rng.randint(1, 4))
        elif kind < 0.65:
            parts.append(rng.choice("ab \n'1.\u4e2d") * rng.randint(2, 30))
        else:
            first, last = rng.choice(BLOCKS)
            for _ in range(rng.randint(1, 6)):
                c = chr(rng.randint(first, last))
                if assigned(c):
                    parts.append(c)
        if rng.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def corpus():
    rng = random.Random(5)
    words = ("the quick brown fox jumps over a lazy dog and happiness unhappiness unhappily happy running runner ran "
             "number 1 22 333 4444 don't we've I'll it's \u4e2d\u6587 \u8001\u5e08 \u597d \u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 na\u00efve caf\u00e9 "
             "\u3053\u3093\u306b\u3061\u306f !? ... == foo_bar").split()
    return [" ".join(rng.choice(words) for _ in range(12)) + rng.choice([".", "\n", "!", "  "]) for _ in range(400)]


PATTERNS = {
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen35": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "tekken": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "unknown": r"\p{Lu}?\p{Ll}+|\d{2}|[^\s\w]+|\s",
}
DEEPSEEK_V3 = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
               r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
DEEPSEEK_LLM = ["[\r\n]", r"\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u0400-\u0481]+",
                r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$",
                "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"]


def train(tok, trainer, keep_specials=True):
    tok.train_from_iterator(corpus(), trainer)
    return tok


def byte_bpe(pre=None, normalizer=None, size=420, specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), plain=("<tool>",), **kw):
    tok = Tokenizer(models.BPE(**kw))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    train(tok, trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(specials),
                                   show_progress=False))
    for t in plain:
        tok.add_tokens([AddedToken(t, normalized=False)])
    return tok


def split_then_bytes(*patterns, behavior="isolated", invert=False):
    steps = [pre_tokenizers.Split(Regex(p), behavior, invert) for p in patterns]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def configs():
    out = {"gpt2": byte_bpe()}
    for name, p in PATTERNS.items():
        out["bytes-" + name] = byte_bpe(split_then_bytes(p), normalizers.NFC() if name == "qwen2" else None)
    out["bytes-deepseek-v3"] = byte_bpe(split_then_bytes(*DEEPSEEK_V3))
    out["bytes-deepseek-llm"] = byte_bpe(pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in DEEPSEEK_LLM] +
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
    out["bytes-dolma2"] = byte_bpe(split_then_bytes(PATTERNS["llama3"], behavior="removed", invert=True))
    out["bytes-prefix-space"] = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True))
    out["falcon"] = byte_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    out["starcoder"] = byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    out["ignore-merges"] = byte_bpe(ignore_merges=True)
    tok = byte_bpe()
    tok.add_tokens([AddedToken(" " * n, normalized=True) for n in range(2, 9)])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("[MASK]", rstrip=True), AddedToken("foo", single_word=True)])
    tok.add_tokens([AddedToken("abc", single_word=True), AddedToken("na\u00efve", lstrip=True, rstrip=True)])
    tok.post_processor = processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>",
                                                       special_tokens=[("<|im_start|>", tok.token_to_id("<|im_start|>")),
                                                                       ("<|im_end|>", tok.token_to_id("<|im_end|>"))])
    out["added-tokens"] = tok

    def llama(pre, normalizer, decoder, **kw):
        tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True, **kw))
        tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        train(tok, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
        d = json.loads(tok.to_str())
        base = len(d["model"]["vocab"])
        for b in range(256):
            d["model"]["vocab"]["<0x%02X>" % b] = base + b
        tok = Tokenizer.from_str(json.dumps(d))
        tok.pre_tokenizer, tok.normalizer, tok.decoder = pre, normalizer, decoder
        return tok

    fallback = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    out["llama-legacy"] = llama(None, normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), fallback)
    out["llama-metaspace"] = llama(pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None, fallback)
    out["metaspace-always"] = llama(pre_tokenizers.Metaspace(prepend_scheme="always"), None, decoders.Metaspace(prepend_scheme="always"))

    for name, fuse in (("unk", False), ("fuse-unk", True)):
        affix = {"continuing_subword_prefix": "##"} if fuse else {"end_of_word_suffix": "</w>"}
        tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, **affix))
        tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if fuse else pre_tokenizers.WhitespaceSplit()
        tok.normalizer = normalizers.NFKC() if fuse else normalizers.Lowercase()
        train(tok, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False, **affix))
        tok.decoder = decoders.WordPiece() if fuse else decoders.BPEDecoder()
        out["bpe-" + name] = tok

    for name, lower in (("cased", False), ("uncased", True)):
        tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
        tok.normalizer = normalizers.BertNormalizer(lowercase=lower)
        tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tok.decoder = decoders.WordPiece(cleanup=lower)
        train(tok, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
        cls, sep = tok.token_to_id("[CLS]"), tok.token_to_id("[SEP]")
        tok.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
        out["wordpiece-" + name] = tok

    def unigram(**kw):
        tok = Tokenizer(models.Unigram())
        tok.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        tok.decoder = decoders.Metaspace()
        train(tok, trainers.UnigramTrainer(vocab_size=250, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
        return tok

    out["unigram"] = unigram()
    tok = unigram()
    d = json.loads(tok.to_str())
    d["model"]["vocab"] += [["<0x%02X>" % b, -20.0] for b in range(256)]
    d["model"]["byte_fallback"] = True
    d["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}]}
    out["unigram-bytes"] = Tokenizer.from_str(json.dumps(d))

    def word_level(pre, normalizer=None, decoder=None):
        tok = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tok.pre_tokenizer = pre
        if normalizer:
            tok.normalizer = normalizer
        if decoder:
            tok.decoder = decoder
        train(tok, trainers.WordLevelTrainer(special_tokens=["<unk>", "<s>"], show_progress=False))
        # Characters, so that where the text is cut shows in the ids.
        tok.add_tokens([])
        d = json.loads(tok.to_str())
        vocab = d["model"]["vocab"]
        for text in WORDS + [chr(c) for c in range(0x21, 0x7F)] + ["ab", "a b", "the", "12", "..", "\u4e2d\u6587\u4e2d"]:
            for t in (text, text.strip()):
                if t and t not in vocab:
                    vocab[t] = len(vocab)
        return Tokenizer.from_str(json.dumps(d))

    P = pre_tokenizers
    out["words-whitespace"] = word_level(P.Whitespace(), normalizers.StripAccents())
    out["words-split"] = word_level(P.WhitespaceSplit(), normalizers.Sequence([normalizers.NFD(), normalizers.Strip()]))
    out["words-punctuation"] = word_level(P.Punctuation("merged_with_previous"), normalizers.NFKD())
    out["words-next"] = word_level(P.Split(" ", "merged_with_next"), normalizers.Nmt())
    out["words-delimiter"] = word_level(P.CharDelimiterSplit(" "))
    out["words-scripts"] = word_level(P.Sequence([P.WhitespaceSplit(), P.UnicodeScripts()]))
    out["words-fixed"] = word_level(P.FixedLength(3))
    out["words-contiguous"] = word_level(P.Sequence([P.Split(Regex(r"\d"), "contiguous"), P.Split("a", "removed", True)]))
    out["words-ctc"] = word_level(P.WhitespaceSplit(), None, decoders.CTC(pad_token="<s>", word_delimiter_token="|"))
    return out


def gpt2_of_ranks(path):
    """The Hugging Face tokenizer of a tiktoken file: merges as tiktoken's own converter makes them."""
    ranks = {}
    for line in open(path, "rb"):
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    alphabet = {}
    extra = 0
    for b in range(256):
        if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE:
            alphabet[b] = chr(b)
        else:
            alphabet[b] = chr(0x100 + extra)
            extra += 1
    spell = lambda t: "".join(alphabet[b] for b in t)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda x: x[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best = min(((ranks.get(a + b, 1 << 60), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))))
            if best[0] >= rank:
                break
            parts[best[1]:best[1] + 2] = [parts[best[1]] + parts[best[1] + 1]]
        if len(parts) == 2:
            merges.append((spell(parts[0]), spell(parts[1])))
    tok = Tokenizer(models.BPE(vocab={spell(t): r for t, r in ranks.items()}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens(["<|endoftext|>"])
    return tok


def llama_of_sentencepiece(path):
    """As transformers converts a SentencePiece BPE model without normalisation (Llama, Mistral)."""
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(path)
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    candidates = []
    for piece, i in vocab.items():
        local = [(piece[:k], piece[k:], sp.get_score(i)) for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab]
        candidates += sorted(local, key=lambda x: (vocab[x[0]], vocab[x[1]]))
    candidates.sort(key=lambda x: (x[2], len(x[0]), len(x[1])), reverse=True)
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[(a, b) for a, b, _ in candidates], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    return tok


class SentencePiece:
    """The same interface over sentencepiece itself, which never parses control pieces out of text."""

    def __init__(self, path):
        import sentencepiece
        self.sp = sentencepiece.SentencePieceProcessor(path)

    def ids(self, text):
        return self.sp.encode(text)


def run(binary, *arguments, stdin):
    done = subprocess.run([binary, "tokenizer", *arguments], input=stdin.encode("utf-8", "surrogatepass"), capture_output=True)
    if done.returncode:
        sys.exit("moe tokenizer %s: %s" % (" ".join(arguments), done.stderr.decode()))
    return done.stdout.decode().split("\n")[:-1]


def ours(binary, path, strings, special):
    stdin = "".join(json.dumps(s, ensure_ascii=False) + "\n" for s in strings)
    lines = run(binary, "encode", "--tokenizer", path, "--json-strings", "--json", *(["--parse-special"] if special else []), stdin=stdin)
    return [json.loads(line)["ids"] for line in lines]


def compare(binary, name, path, tok, strings, exact_decode=True):
    for special in (True, False):
        if isinstance(tok, SentencePiece):
            if special:
                continue
            theirs = [tok.ids(s) for s in strings]
        else:
            tok.encode_special_tokens = not special
            theirs = [e.ids for e in tok.encode_batch(strings, add_special_tokens=False)]
        markers = set() if isinstance(tok, SentencePiece) else {i for i, t in tok.get_added_tokens_decoder().items()
                                                                   if t.special and t.content not in ("<unk>", "[UNK]")}
        for s, a, b in zip(strings, ours(binary, path, strings, special), theirs):
            if not special and ("<unk>" in s or "[UNK]" in s):
                continue  # as text or as what stands for the unknown: the same id
            if not special and markers.intersection(b):
                # Theirs lets a special token through that is also a word of the model; ours must not.
                if markers.intersection(a):
                    sys.exit("%s: %r as text gives a special token: %s" % (name, s, a))
            elif a != b:
                sys.exit("%s, special tokens %s: %r\n  ours   %s\n  theirs %s" % (name, "parsed" if special else "as text", s, a, b))
        if special:
            texts = [json.loads(line)["text"] for line in run(binary, "decode", "--tokenizer", path, "--lines",
                                                               stdin="".join(" ".join(map(str, ids)) + "\n" for ids in theirs))]
            for ids, a in zip(theirs, texts):
                b = tok.decode(ids, skip_special_tokens=True)
                if a != b and exact_decode:
                    sys.exit("%s, decode %s:\n  ours   %r\n  theirs %r" % (name, ids, a, b))
    print("%-22s %d strings equal" % (name, len(strings)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--strings", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--vocabularies")
    parser.add_argument("--write")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    strings = [random_string(rng) for _ in range(args.strings)]
    with tempfile.TemporaryDirectory() as folder:
        if args.write:
            write(args.write)
            return
        if args.vocabularies:
            v = lambda f: os.path.join(args.vocabularies, f)
            published = [("gpt2.tiktoken", gpt2_of_ranks), ("minimind_tokenizer.json", Tokenizer.from_file),
                         ("mistral_tokenizer.model.v1", llama_of_sentencepiece), ("mistral_tokenizer.model.v1", SentencePiece),
                         ("sentencepiece_test_unigram.model", SentencePiece)]
            for file, make in published:
                if os.path.exists(v(file)) and args.only in (None, file):
                    compare(args.binary, file, v(file), make(v(file)), strings)
            return
        for name, tok in configs().items():
            if args.only in (None, name):
                path = os.path.join(folder, name + ".json")
                tok.save(path)
                compare(args.binary, name, path, tok, [s for s in strings if known(name, s)])
                again = os.path.join(folder, "again.json")
                run(args.binary, "convert", "--tokenizer", path, "--out", again, stdin="")
                a, b = json.load(open(path)), json.load(open(again))
                Tokenizer.from_file(again)
                assert a == b or name.startswith("char"), name + ": the file that we write again is another document"


def write(folder):
    rng = random.Random(11)
    os.makedirs(folder, exist_ok=True)
    for name, tok in configs().items():
        strings = [s for s in (random_string(rng) for _ in range(45)) if known(name, s)]
        cases = []
        for s in strings:
            tok.encode_special_tokens = False
            parsed = tok.encode(s, add_special_tokens=False).ids
            framed = tok.encode(s, add_special_tokens=True).ids
            text = tok.decode(parsed, skip_special_tokens=True)
            tok.encode_special_tokens = True
            plain = tok.encode(s, add_special_tokens=False).ids
            cases.append({"text": s, "parsed": parsed, "framed": framed, "plain": plain, "decoded": text})
        tok.encode_special_tokens = False
        with open(os.path.join(folder, name + ".tokenizer.json"), "w", encoding="utf-8") as f:
            json.dump(json.loads(tok.to_str()), f, ensure_ascii=False, separators=(",", ":"))
        with open(os.path.join(folder, name + ".cases.json"), "w", encoding="utf-8") as f:
            json.dump(cases, f, ensure_ascii=False, separators=(",", ":"))
    print("tokenizers %s wrote %s" % (tokenizers.__version__, folder))


if __name__ == "__main__":
    main()
