"""Make the reference fixtures of the encoders.

Each fixture is a folder that sentence-transformers opens: a tiny transformer with random weights, a tokenizer trained
on the sentences below, and a `reference.json` with what sentence-transformers computes from it. The Rust tests read
the same folder and must reach the same numbers.

    python -m venv "$DIR" && "$DIR"/bin/pip install torch transformers sentence-transformers
    HF_HUB_OFFLINE=1 "$DIR"/bin/python crates/nn/tests/reference/make.py            # all of them
    HF_HUB_OFFLINE=1 "$DIR"/bin/python crates/nn/tests/reference/make.py bert mpnet # some of them

Everything is seeded: on one machine with the same versions the same bytes come out. The versions stand in every
`reference.json`. A folder is written only after it was reloaded from disk and gave the same vectors. What the keys of
`reference.json` mean is in the README beside this file.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import json
import math
import pathlib
import shutil
import sys
import tempfile
import warnings

import numpy as np
import safetensors.torch
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent

# ---------------------------------------------------------------------------------------------------------------------
# Text: what the tokenizers learn from, and what is encoded.

SENTENCES = """
The chain came off twice on the way to the station.
I paid for the ride but the receipt never arrived.
Please call me back before noon, the lock is stuck.
Two new tyres, one inner tube and a bell: 48.50 euros.
She rides to work in the rain and never complains.
Where can I return the bike if the rack is full?
The mechanic said the wheel was bent, not broken.
My account was charged three times for one journey.
An empty basket rattles more than a full one.
He asked whether the helmet fits a child of six.
Night trains carry bicycles only in the last carriage.
The map shows a station here, but there is none.
We repaired the gear cable and oiled the chain.
Can you send the invoice to my company instead?
The front light blinks twice and then goes dark.
Nobody answered the phone on Sunday morning.
It is quicker to walk than to wait for the bus.
The saddle is too high and the lever is jammed.
I would like to cancel my yearly plan, please.
Our street floods whenever the river is high.
They painted the old bridge green and white.
A refund was promised last week; nothing came.
The app says unlocked, the bike says otherwise.
How long does a full service take in winter?
Every station keeps a pump and a set of tools.
The brakes squeal like a kettle when it is wet.
My daughter learned to ride behind the library.
Keep the key, lose the key, find the spare key.
The battery lasts forty kilometres, less uphill.
Someone left a red umbrella in the basket.
We are open from eight until half past six.
You can pay by card, by phone or in cash.
The pedal fell off in the middle of the crossing.
A spoke is a thin thing to trust your weight to.
He measured the frame and wrote the number down.
Is there a discount for students and pensioners?
The wind was behind us all the way to the coast.
Do not park against the fence of the school.
The old workshop smelled of rubber and coffee.
It was 7:05 when the first tram rang its bell.
Write your name, the date and the bike number.
The password link expired before I could use it.
Five bikes for six people is a small problem.
She tightened the bolt, then tightened it again.
Their promise: same day repair or no charge.
I found a wallet at the station by the park.
Ein Fahrrad braucht Luft, Öl und etwas Geduld.
Où est la station la plus proche, s'il vous plaît ?
La bicicleta está rota y mañana no puedo ir.
Żółty rower stoi przy moście od środy.
Велосипед стоит у моста со вчерашнего дня.
Το ποδήλατο είναι δίπλα στη γέφυρα.
自転車の鍵をなくしました。
我的自行车坏了，请帮我修理。
자전거 바퀴가 고장났어요.
الدراجة بجانب الجسر منذ أمس.
A café, a naïve façade and a jalapeño: accents happen.
Thanks 🙂 the bike is fixed 🚲 and we are off!
Prices rose by 12 % in 2023 and by 3 % since.
The end of the road is the beginning of the path.
""".strip().split("\n")

TEXTS = [
    "The brakes squeal in the rain and the chain came off.",
    "",
    "wheel",
    "?!... -- ;",
    "Where is the nearest station, please?",
    "Zażółć gęślą jaźń, naïve façade coöperate",
    "我的自行车坏了。",
    "Велосипед у моста",
    "Fixed 🚲🔧 thanks 👍🏽!",
    "ᚠᚱ ꙮ 𓂀 unknown ☂ signs",
    "  Tabs\tand\nlines   and  spaces ",
    "ﬁve ½ ① ™ Ⅳ ﷺ full－width ＡＢＣ",
    "cafe\u0301 a\u200bb I\u0307 ß ẞ MiXeD CaSe",
    "a literal [MASK] and <mask> and </s> inside",
    "The mechanic said that the wheel was bent and not broken, then he oiled the chain, tightened every bolt of the old "
    "frame, measured the saddle, painted the bell, and wrote the number of the bike, the date, the price and his own "
    "name on a receipt that nobody ever asked him to send before noon on a Sunday morning in the rain.",
]
TOKEN_EMBEDDINGS_OF = [0, 8]  # texts whose last hidden state is kept
POOLING_TEXTS = [1, 4, 14]  # texts of the table of pooling modes: empty, ordinary, truncated

# ---------------------------------------------------------------------------------------------------------------------
# Tokenizers: trained here, then wrapped in the class of the model family.


def words(normalizer, pre_tokenizer):
    """The words of the sentences with their counts, in order of first appearance."""
    counts = {}
    for sentence in SENTENCES:
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(sentence)):
            counts[word] = counts.get(word, 0) + 1
    return counts


def word_piece(size, specials, alphabet=60):
    """Vocabulary of a WordPiece model, the special tokens first.

    Learned here by merging the most frequent pair, ties by spelling: the trainer of `tokenizers` settles ties in hash
    order, anew in each run. Only the `alphabet` most frequent characters are known, so some of TEXTS stay unknown.
    """
    counts = words(normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer())
    frequency = {}
    for word, count in counts.items():
        for character in word:
            frequency[character] = frequency.get(character, 0) + count
    known = set(sorted(frequency, key=lambda c: (-frequency[c], c))[:alphabet]) | set("自行车🚲")
    split = {
        word: [c if i == 0 else "##" + c for i, c in enumerate(word)] for word in counts if known.issuperset(word)
    }
    vocab = list(specials) + sorted({piece for pieces in split.values() for piece in pieces})
    vocab += sorted(known - set(vocab))
    while len(vocab) < size:
        pairs = {}
        for word, pieces in split.items():
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] = pairs.get(pair, 0) + counts[word]
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merged = left + right.removeprefix("##")
        if merged not in vocab:
            vocab.append(merged)
        for word, pieces in split.items():
            out = []
            for piece in pieces:
                if piece == right and out and out[-1] == left:
                    out[-1] = merged
                else:
                    out.append(piece)
            split[word] = out
    return {piece: i for i, piece in enumerate(vocab)}


def byte_level_bpe(size, specials):
    """Vocabulary and merges of a byte-level BPE model."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def unigram(size, specials):
    """A tokenizer with a Unigram model, the special tokens first.

    The trainer chooses the pieces; their scores are the log shares of their occurrences, because the trainer's own
    scores change in the fourth digit from run to run.
    """
    normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=specials, unk_token="<unk>", show_progress=False)
    # Two writing systems are left out of the training so that they stay unknown.
    known = [s for s in SENTENCES if not any("\u0600" <= c <= "\u06ff" or "\uac00" <= c <= "\ud7af" for c in s)]
    tokenizer.train_from_iterator(known, trainer)
    counts = words(normalizer, splitter)
    pieces = {piece for piece, _ in json.loads(tokenizer.to_str())["model"]["vocab"]} - set(specials)
    share = {piece: sum(n * word.count(piece) for word, n in counts.items()) for piece in pieces}
    total = sum(share.values())
    ranked = sorted(pieces, key=lambda piece: (-share[piece], piece))
    vocab = [(special, 0.0) for special in specials]
    vocab += [(piece, round(math.log(max(share[piece], 0.5) / total), 6)) for piece in ranked]
    vocab.append(("<mask>", 0.0))
    out = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=specials.index("<unk>"), byte_fallback=False))
    out.normalizer, out.pre_tokenizer = normalizer, splitter
    out.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    out.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, specials.index(token)) for token in ("<s>", "</s>")],
    )
    return out


def bert_tokenizer(cls, size, **kwargs):
    vocab = word_piece(size, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return cls(vocab=vocab, do_lower_case=True, **kwargs)


def roberta_tokenizer(size, **kwargs):
    vocab, merges = byte_level_bpe(size, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return transformers.RobertaTokenizer(vocab=vocab, merges=merges, **kwargs)


def xlm_roberta_tokenizer(size, **kwargs):
    # The general class keeps the normalizer of tokenizer.json; the family's class would build its own without one.
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=unigram(size, ["<s>", "<pad>", "</s>", "<unk>"]),
        bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
        mask_token="<mask>", model_input_names=["input_ids", "attention_mask"], **kwargs,
    )


def mpnet_tokenizer(size, **kwargs):
    vocab = word_piece(size, ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
    return transformers.MPNetTokenizer(vocab=vocab, do_lower_case=True, **kwargs)


# ---------------------------------------------------------------------------------------------------------------------
# Models.

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40)


def randomise(module, generator):
    """Draw every parameter anew, wide enough that a wrong bias, epsilon or gain shows in the fourth digit."""
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            gain = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(1.0 + 0.3 * noise if gain else 0.2 * noise)


def bert():
    """Mean pooling without the prompt, then Normalize; a folder as releases before 6 wrote it."""
    tokenizer = bert_tokenizer(transformers.BertTokenizer, 240)
    config = transformers.BertConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=64, type_vocab_size=2, layer_norm_eps=1e-2
    )
    return dict(
        config=config,
        tokenizer=tokenizer,
        max_seq_length=40,
        after=lambda: [Pooling(32, pooling_mode="mean", include_prompt=False), Normalize()],
        prompts={"query": "query: ", "document": ""},
        legacy=True,
        gradients=[
            "embeddings.word_embeddings.weight",
            "embeddings.token_type_embeddings.weight",
            "encoder.layer.0.attention.self.query.weight",
            "encoder.layer.0.intermediate.dense.bias",
            "encoder.layer.1.output.LayerNorm.weight",
        ],
    )


def roberta():
    """First-token pooling; a folder as release 6 writes it, the maximum length only in the tokenizer's config."""
    tokenizer = roberta_tokenizer(300, model_max_length=64)
    config = transformers.RobertaConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-3,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )
    return dict(
        config=config,
        tokenizer=tokenizer,
        after=lambda: [Pooling(32, pooling_mode="cls")],
        prompts={"query": "Find: ", "document": "Text: "},
        gradients=[
            "embeddings.word_embeddings.weight",
            "embeddings.position_embeddings.weight",
            "encoder.layer.0.attention.self.key.weight",
            "encoder.layer.1.attention.output.LayerNorm.weight",
            "encoder.layer.1.output.dense.bias",
        ],
    )


def xlm_roberta():
    """Maximum pooling over a Unigram tokenizer; a folder as release 6 writes it."""
    tokenizer = xlm_roberta_tokenizer(280, model_max_length=48)
    config = transformers.XLMRobertaConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=64, type_vocab_size=1, layer_norm_eps=1e-2,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )
    return dict(
        config=config,
        tokenizer=tokenizer,
        after=lambda: [Pooling(32, pooling_mode="max")],
        gradients=[
            "embeddings.word_embeddings.weight",
            "embeddings.LayerNorm.weight",
            "encoder.layer.0.attention.self.value.weight",
            "encoder.layer.1.attention.output.dense.bias",
        ],
    )


def distilbert():
    """Mean pooling, then Dense 32 → 20 with its default Tanh; no maximum length but the number of positions, 48."""
    tokenizer = bert_tokenizer(transformers.DistilBertTokenizer, 240)
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=48, dim=32, n_layers=3, n_heads=4, hidden_dim=36
    )
    return dict(
        config=config,
        tokenizer=tokenizer,
        after=lambda: [Pooling(32, pooling_mode="mean"), Dense(32, 20)],
        legacy=True,
        gradients=[
            "embeddings.word_embeddings.weight",
            "transformer.layer.0.attention.q_lin.weight",
            "transformer.layer.2.sa_layer_norm.weight",
            "transformer.layer.1.ffn.lin1.bias",
            "2_Dense/linear.weight",
            "2_Dense/linear.bias",
        ],
    )


def mpnet():
    """Last-token pooling, then Normalize; relative attention bias; a prompt that counts in the pooling."""
    tokenizer = mpnet_tokenizer(240)
    config = transformers.MPNetConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=62, layer_norm_eps=1e-3,
        relative_attention_num_buckets=32,
    )
    return dict(
        config=config,
        tokenizer=tokenizer,
        max_seq_length=60,
        after=lambda: [Pooling(32, pooling_mode="lasttoken"), Normalize()],
        prompts={"query": "search for ", "document": ""},
        legacy=True,
        gradients=[
            "embeddings.word_embeddings.weight",
            "encoder.relative_attention_bias.weight",
            "encoder.layer.0.attention.attn.q.weight",
            "encoder.layer.1.output.LayerNorm.weight",
            "encoder.layer.1.attention.attn.o.bias",
        ],
    )


FIXTURES = [bert, roberta, xlm_roberta, distilbert, mpnet]

# ---------------------------------------------------------------------------------------------------------------------
# Folders.


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def build(spec, seed, folder):
    """Write the folder as the installed sentence-transformers writes it."""
    generator = torch.Generator().manual_seed(seed)
    backbone = transformers.AutoModel.from_config(spec["config"])
    randomise(backbone, generator)
    with tempfile.TemporaryDirectory() as source:
        backbone.save_pretrained(source)
        spec["tokenizer"].save_pretrained(source)
        modules = [Transformer(source), *spec["after"]()]
    for module in modules[1:]:
        randomise(module, generator)
    if "max_seq_length" in spec:
        modules[0].max_seq_length = spec["max_seq_length"]
    model = SentenceTransformer(modules=modules, prompts=spec.get("prompts"), device="cpu")
    model.save(str(folder), create_model_card=False)
    return model


def make_legacy(spec, folder):
    """Rewrite the configs as releases 2 to 5 wrote them; weights and tokenizer stay."""
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rsplit(".", 1)[1]
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": spec.get("max_seq_length"), "do_lower_case": False},
    )
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    modes = dict(
        cls="cls_token", mean="mean_tokens", max="max_tokens", mean_sqrt_len_tokens="mean_sqrt_len_tokens",
        weightedmean="weightedmean_tokens", lasttoken="lasttoken",
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": pooling["embedding_dimension"],
            **{"pooling_mode_" + key: pooling["pooling_mode"] == mode for mode, key in modes.items()},
            "include_prompt": pooling["include_prompt"],
        },
    )
    if (dense := folder / "2_Dense" / "config.json").exists():
        keys = ["in_features", "out_features", "bias", "activation_function"]
        config = json.loads(dense.read_text())
        write_json(dense, {key: config[key] for key in keys})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "3.0.1", "transformers": "4.41.2", "pytorch": "2.3.0"},
            "prompts": spec.get("prompts", {}),
            "default_prompt_name": None,
            "similarity_fn_name": None,
        },
    )
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for key in ("backend", "is_local", "local_files_only"):
        config.pop(key, None)
    write_json(folder / "tokenizer_config.json", {**config, "model_max_length": 512})
    tokenizer = spec["tokenizer"]
    names = ["bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token"]
    write_json(
        folder / "special_tokens_map.json",
        {name: str(token) for name in names if (token := getattr(tokenizer, name, None)) is not None},
    )
    config = json.loads((folder / "config.json").read_text())
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    write_json(folder / "config.json", config)
    if spec["config"].model_type == "bert":
        # Old checkpoints carry the position ids, and a tokenizer that remembers a shorter truncation and a padding.
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        positions = spec["config"].max_position_embeddings
        weights["embeddings.position_ids"] = torch.arange(positions).unsqueeze(0)
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        saved = json.loads((folder / "tokenizer.json").read_text())
        saved["truncation"] = {
            "direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0,
        }
        saved["padding"] = {
            "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]",
        }
        write_json(folder / "tokenizer.json", saved)


# ---------------------------------------------------------------------------------------------------------------------
# References.


def significant(value, digits=8):
    """Round to significant digits, through lists."""
    if isinstance(value, (list, tuple)):
        return [significant(v, digits) for v in value]
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return significant(value.tolist(), digits)
    if value == 0.0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def encode(model, texts, prompt_name=None):
    return model.encode(texts, batch_size=len(texts), prompt_name=prompt_name, show_progress_bar=False)


def named_parameters(model):
    """Parameters under the names of the files: the first module bare, the others as `folder/tensor`."""
    found = dict(model[0].model.named_parameters())
    for index, module in enumerate(list(model)[1:], start=1):
        prefix = f"{index}_{type(module).__name__}/"
        found.update({prefix + name: parameter for name, parameter in module.named_parameters()})
    return found


def gradient_check(folder, names, weight):
    """Loss Σ embedding·W in float64 and its gradient for the named parameters."""
    model = SentenceTransformer(str(folder), device="cpu").double().eval()
    model.zero_grad()
    features = model.preprocess(TEXTS)
    embedding = model(features)["sentence_embedding"]
    loss = (embedding * torch.tensor(weight, dtype=torch.float64)).sum()
    loss.backward()
    parameters = named_parameters(model)
    gradients = {}
    for name in names:
        gradient = parameters[name].grad
        entry = {"shape": list(gradient.shape), "norm": significant(gradient.norm().item())}
        if gradient.dim() == 2 and gradient.shape[0] > 60:
            # A large table: the rows that the first texts use, one unused row; the norm covers the others.
            used = torch.nonzero(gradient.abs().sum(1)).flatten().tolist()
            unused = [row for row in range(gradient.shape[0]) if row not in set(used)]
            entry["rows"] = sorted(used[:: max(1, len(used) // 10)][:10] + unused[-1:])
            gradient = gradient[entry["rows"]]
        entry["values"] = significant(gradient)
        gradients[name] = entry
    return embedding.detach().numpy(), {
        "w": weight.tolist(),
        "loss": significant(loss.item(), 12),
        "gradients": gradients,
    }


def pooling_table(model, prompt):
    """Every pooling mode on one backbone, with and without the prompt's tokens, before any later module."""
    texts = [TEXTS[i] for i in POOLING_TEXTS]
    table = []
    modes = [*Pooling.POOLING_MODES, ("cls", "mean")]
    for mode in modes:
        for include in (True, False):
            part = SentenceTransformer(modules=[model[0], Pooling(32, mode, include_prompt=include)], device="cpu")
            table.append(
                {
                    "pooling_mode": list(mode) if isinstance(mode, tuple) else mode,
                    "include_prompt": include,
                    "values": significant(part.encode(texts, prompt=prompt, show_progress_bar=False)),
                }
            )
    return {"texts": POOLING_TEXTS, "prompt": prompt, "rows": table}


def reference(spec, seed, folder, before):
    """What the reloaded folder computes; `before` is the model that was saved."""
    model = SentenceTransformer(str(folder), device="cpu").eval()
    embeddings = encode(model, TEXTS)
    assert np.array_equal(embeddings, encode(before, TEXTS)), f"{folder.name}: reloading changed the vectors"
    tokenizer = model.tokenizer
    limit = model.max_seq_length
    encoded = tokenizer(TEXTS, truncation=True, max_length=limit)["input_ids"]
    batch = model.preprocess(TEXTS)
    lengths = batch["attention_mask"].sum(1).tolist()
    assert [row[:n].tolist() for row, n in zip(batch["input_ids"], lengths)] == encoded
    assert max(lengths) == limit, f"{folder.name}: no text reaches the maximum {limit}, longest {max(lengths)}"
    assert tokenizer.unk_token_id in sum(encoded, []) or spec["config"].model_type == "roberta"

    hidden = {}
    for i in TOKEN_EMBEDDINGS_OF:
        features = model.preprocess([TEXTS[i]])
        with torch.no_grad():
            hidden[str(i)] = significant(model[0](features)["token_embeddings"][0])
    weight = np.round(np.random.default_rng(seed).standard_normal(embeddings.shape), 4)
    double, gradient = gradient_check(folder, spec["gradients"], weight)
    error = float(np.abs(double - embeddings).max())
    assert error < 1e-5, f"{folder.name}: float32 is {error} from float64"

    out = {
        "versions": {
            "python": sys.version.split()[0],
            "sentence_transformers": sentence_transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
        },
        "seed": seed,
        "max_seq_length": limit,
        "texts": TEXTS,
        "input_ids": encoded,
        "token_embeddings": hidden,
        "embeddings": significant(embeddings),
        "float64_difference": significant(error, 2),
    }
    prompts = spec.get("prompts", {})
    out["prompts"] = prompts
    out["embeddings_with_prompt"] = {
        name: significant(encode(model, TEXTS, prompt_name=name)) for name, text in prompts.items() if text
    }
    out["gradient_check"] = gradient
    if spec["config"].model_type == "bert":
        out["pooling_modes"] = pooling_table(model, prompts["query"])
    return out


def dumps(value, depth=0):
    """JSON with one line for each row of numbers, so that a difference can be read."""
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        inner = ",\n".join(f"{pad}{json.dumps(k, ensure_ascii=False)}: {dumps(v, depth + 1)}" for k, v in value.items())
        return "{\n" + inner + "\n" + " " * depth + "}" if value else "{}"
    if isinstance(value, list) and value and isinstance(value[0], (list, dict, str)):
        return "[\n" + ",\n".join(pad + dumps(v, depth + 1) for v in value) + "\n" + " " * depth + "]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(names):
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    known = {make.__name__: (seed, make) for seed, make in enumerate(FIXTURES, start=11)}
    for name in names or known:
        seed, make = known[name]
        spec = make()
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / name
            before = build(spec, seed, folder).eval()
            if spec.get("legacy"):
                make_legacy(spec, folder)
            values = reference(spec, seed, folder, before)
            (folder / "reference.json").write_text(dumps(values) + "\n", encoding="utf-8")
            shutil.rmtree(HERE / name, ignore_errors=True)
            shutil.copytree(folder, HERE / name, copy_function=shutil.copyfile)
        size = sum(f.stat().st_size for f in (HERE / name).rglob("*") if f.is_file())
        print(json.dumps({"fixture": name, "bytes": size, "float64_difference": values["float64_difference"]}))


if __name__ == "__main__":
    main(sys.argv[1:])
