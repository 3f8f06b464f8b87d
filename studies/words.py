"""The studies' results in words, as the book's pages show them: for each file of book/results its "prose".

Every function takes what the file holds and returns texts by the names that pages use. How an accuracy is written is
`spokendigits.publish.words`, which also words the two runs of the seed's recipe, fast.json and full.json.
"""

import math
from collections.abc import Callable
from statistics import median

from spokendigits.publish.words import in_words
from studies import bench_report as report

HEADROOM = 1.3  # of memory for a seat: the middle of the 20 to 40 % more that The Littlest JupyterHub advises
CLASS = 20  # students
SERVER_CORES = 16  # of the computer that the page takes as its example
# The parts of a training step that `gpu` times, each with all before it, and the ways to launch the whole of it.
GPU_PARTS = {
    "clips": "clips",
    "clips and pictures": "pictures",
    "and forward": "forward",
    "and backward": "backward",
    "whole step": "step",
    "whole step, CUDA graph": "graph",
    "whole step, compiled": "compiled",
    "whole step, compiled, CUDA graph": "compiled_graph",
}
GPU_STAGES = {"corpus": "corpus", "clips": "clips", "training with validation": "training"}


def points(change: dict, sign: str = "+") -> str:
    """A difference of two shares with its interval, in percentage points; `sign` as in a format, "+" or "-"."""
    value, low, high = (
        100 * share for share in (change.get("difference", change.get("value")), change["low"], change["high"])
    )
    return f"{value:{sign}.1f} points (95 % interval {low:.1f} to {high:.1f})"


def origin(prefix: str, device: str, made: dict) -> dict[str, str]:
    """Where and when a result was measured: `<prefix>_device`, `<prefix>_torch`, `<prefix>_date`."""
    day = (made.get("finished") or made["date"])[:10]
    return {f"{prefix}_device": device, f"{prefix}_torch": made["versions"]["torch"], f"{prefix}_date": day}


def fsdd(results: dict) -> dict[str, str]:
    """From synthetic speech to people (`real_voices`): what is measured so far."""
    scores = {f"split_{how}": score for how, score in results["splits"].items()}
    scores |= {
        key: results[key] for key in ("no_human_data", "loso_mean", "loso_worst", "official_split") if key in results
    }
    if "none_5" in results:
        scores["alone"] = results["none_5"]
    texts = {f"fsdd_{name}": in_words(score) for name, score in scores.items()}
    if "loso_worst" in results:
        texts["fsdd_worst_speaker"] = results["loso_worst"]["speaker"]
    for name in ("ranks", "ranks_held_out"):
        if "labels" in results:
            texts[f"fsdd_{name}"] = ", ".join(str(rank) for rank in sorted(results["labels"][name].values()))
    return {
        **texts,
        **origin("fsdd", results["no_human_data"]["device"], results["made"]),
        "fsdd_seeds": str(results["made"]["seeds"]),
        "fsdd_views": str(results["made"]["views"]),
        "fsdd_voices": f"{results['no_human_data']['clips_train']:,}",
    }


def synthetic(results: dict) -> dict[str, str]:
    """How far the evaluation on new synthetic voices can be trusted (`new_voices`)."""
    held, tests = results["interval_coverage"], len(results["interval_coverage"]["tests"])
    mean, lowest, highest = (f"{100 * held[name]:.1f} %" for name in ("value", "low", "high"))
    return {
        **origin("synthetic", results["made"]["device"], results["made"]),
        "synthetic_disjoint": in_words(results["speaker_disjoint"], 2),
        "synthetic_ece_before": in_words(results["ece_before"], 2),
        "synthetic_ece": in_words(results["ece"], 2),
        "synthetic_drop": points(results["noise_10db_drop"], "-"),
        "synthetic_noisy": in_words(results["noise_10db_drop"]["noisy"], 2),
        "synthetic_coverage": f"{mean} (from {lowest} to {highest} in {tests} settings)",
        "synthetic_clips": f"{results['speaker_disjoint']['clips']:,}",
    }


def small(results: dict) -> dict[str, str]:
    """The small network of the page "Say a digit" (`small`)."""
    held_out, people, data = results["held_out"], results["people"], results["data"]
    lost = {part: f"{100 * score['lost']['difference']:.1f} points" for part, score in results["int8"].items()}
    return {
        **origin("small", results["training"]["small"]["device"], results["made"]),
        "small_held_out": in_words(held_out["small"]),
        "small_teacher": in_words(held_out["teacher"]),
        "small_taught": in_words(held_out["taught"]),
        "small_alone": in_words(held_out["alone"]),
        "small_gained": points(held_out["gained"]),
        "small_people_gained": points(people["gained_alone"]),
        "small_people": in_words(people["small"]),
        "small_people_taught": in_words(people["taught_alone"]),
        "small_people_alone": in_words(people["alone_alone"]),
        "small_people_teacher": in_words(people["teacher_alone"]),
        "small_auroc_words": f"{results['rejection']['words']['value']:.3f}",
        "small_auroc_noise": f"{results['rejection']['noise']['value']:.3f}",
        "small_int8_lost": lost["held_out"],
        "small_people_int8_lost": lost["people"],
        "small_parameters": f"{results['sizes']['parameters'] / 1e6:.2f} million",
        "small_teacher_parameters": f"{results['sizes']['teacher_parameters'] / 1e6:.1f} million",
        **{f"small_{name}": f"{data[name]:,}" for name in ("clips_train", "others_train", "voices_train")},
    }


def export(results: dict) -> dict[str, str]:
    """The table of exported networks' sizes, times and accuracies (`exports`): `export_small_int8_mb` and so on."""
    texts = {"export_device": results["device"], "export_parity_clips": f"{results['parity_clips']:,}"}
    texts |= {f"export_parity_{model}": f"{largest:.1e}" for model, largest in results["parity"].items()}
    for row in results["rows"]:
        name = f"export_{row['model']}_{row['precision'].lower()}"
        texts[f"{name}_mb"] = f"{row['size_mb']:.2f}"
        texts[f"{name}_times"] = f"{row['speedup']:.1f}"
        texts[f"{name}_accuracy"] = in_words(row)
    return texts


def bench(results: dict) -> dict[str, str]:
    """The course against its alternatives (`bench`)."""
    rounds, made = results["rounds"], results["made"]
    texts = {f"bench_{name}": f"{ratio:.2f}" for name, ratio in report.ratios(rounds).items()}
    for name, middle in report.medians(rounds).items():
        key = f"bench_{name.replace('-', '_')}"
        texts[f"{key}_seconds"] = f"{middle['seconds']:.1f}"
        texts[f"{key}_clips"] = f"{middle['clips']:,}"
        texts[f"{key}_rate"] = f"{middle['clips_per_second']:,.0f}"
        texts[f"{key}_mb"] = f"{middle['peak_mb']:,.0f}"
    answers = [answer for answers in rounds for answer in answers.values() if "predict_seconds" in answer]
    if answers:
        alone = median(answer["clips"] / answer["predict_seconds"] for answer in answers)
        texts["bench_predict_alone_rate"] = f"{alone:,.0f}"
    return texts | {
        **origin("bench", made["device"], made),
        "bench_precision": made["precision"],
        "bench_repeats": str(made["repeats"]),
        "bench_minutes": f"{made['minutes']:.0f}",
        "bench_torchaudio": made["versions"]["torchaudio"],
        "bench_librosa": made["versions"]["librosa"],
        "bench_alt": report.alt_text(rounds),
    }


def gpu(results: dict) -> dict[str, str]:
    """The seed experiment on one GPU, and the parts of a step there (`gpu`).

    `gpu_ms_<part>` and, against the whole step as it is, `gpu_times_<way>`; "not measured" for a way that did not work.
    """
    training, step = results["made"], results["milliseconds"]
    texts = {f"gpu_seconds_{key}": f"{results['seconds'][stage]:.1f}" for stage, key in GPU_STAGES.items()}
    for name, key in GPU_PARTS.items():
        texts[f"gpu_ms_{key}"] = f"{step[name]:.2f}" if name in step else "not measured"
        if name.startswith("whole step, "):
            texts[f"gpu_times_{key}"] = f"{step['whole step'] / step[name]:.2f}" if name in step else "not measured"
    return texts | {
        **origin("gpu", results["device"], results),
        "gpu_clips": f"{training['clips_train'] + training['clips_validation']:,}",
        "gpu_minutes": f"{sum(results['seconds'][stage] for stage in GPU_STAGES) / 60:.0f}",
        "gpu_cuda": results["versions"]["cuda"],
        "gpu_precision": training["precision"],
        "gpu_accuracy": in_words(results["metrics"], 2),
        "gpu_clips_a_second": f"{training['clips_epoch'] * training['recipe']['epochs'] / training['seconds']:,.0f}",
    }


def seat(results: dict) -> dict[str, str]:
    """What one student's seat needs (`seat`), and from it a class's server."""
    notebooks, made = results["notebooks"], results["made"]
    texts = {}
    for name, needs in notebooks.items():
        texts[f"seat_mb_{name}"] = f"{needs['peak_mb']:,.0f}"
        texts[f"seat_cpu_{name}"] = f"{needs['cpu_seconds']:,.0f}"
        texts[f"seat_disk_{name}"] = f"{max(0, needs['disk_mb']):,.0f}"
    peak = max(needs["peak_mb"] for needs in notebooks.values())
    disk = sum(needs["disk_mb"] for needs in notebooks.values())
    longest = max(notebooks, key=lambda name: notebooks[name]["cpu_seconds"])
    busiest = notebooks[longest]["cpu_seconds"]
    whole = peak + results["lab_mb"]
    limit = math.ceil(whole * HEADROOM / 500) / 2  # GB, in halves
    return texts | {
        **origin("seat", made["device"], made),
        "seat_peak_mb": f"{peak:,.0f}",
        "seat_lab_mb": f"{results['lab_mb']:,.0f}",
        "seat_whole_gb": f"{whole / 1000:.1f}",
        "seat_limit_gb": f"{limit:g}",
        "seat_limit_mb": f"{limit * 1000:.0f}",
        "seat_disk_mb": f"{disk:,.0f}",
        "seat_environment_gb": f"{results['environment_mb'] / 1000:.1f}",
        "seat_cpu_all": f"{sum(needs['cpu_seconds'] for needs in notebooks.values()):,.0f}",
        "seat_cpu_longest": f"{busiest:,.0f}",
        "seat_longest": longest[:2].lstrip("0"),
        "seat_notebooks": str(len(notebooks)),
        "seat_class": str(CLASS),
        "seat_class_gb": f"{math.ceil(CLASS * limit)}",
        "seat_class_disk_gb": f"{math.ceil(disk * CLASS / 1000)}",
        "seat_class_cores": str(SERVER_CORES),
        "seat_class_minutes": f"{math.ceil(CLASS * busiest / SERVER_CORES / 60)}",
        "seat_counted": made["counted"],
        "seat_load": f"{made['load'][0]:.1f}" if made["load"] else "unknown",
    }


def transfer(results: dict) -> dict[str, str]:
    """What a start is worth, and the way to people (`transfer`)."""
    starts, people = results["starts"], results["people"]
    most = {name: sizes[max(sizes, key=int)] for name, sizes in starts["clips"].items()}
    ladder = {test: list(rows.values()) for test, rows in people["ladder"].items()}
    texts = {f"transfer_{name}": in_words(score) for name, score in most.items()}
    texts |= {f"transfer_people_{number}": in_words(row) for number, row in enumerate(ladder["fsdd"], 1)}
    if strangers := ladder.get("speech_commands"):
        texts |= {
            "transfer_strangers": in_words(strangers[-1]),
            "transfer_strangers_clips": str(strangers[-1]["clips"]),
        }
    few = people["few"]["after synthetic voices"]["5"]
    return {
        **texts,
        "transfer_gain": points(starts["pairs"]["photographs against random"]),
        "transfer_few": in_words(few),
        "transfer_few_worst": f"{100 * min(few['speakers'].values()):.1f} %",
        **origin("transfer", results["made"]["device"], results["made"]),
    }


def strangers(results: dict) -> dict[str, str]:
    """The model that answers, and people whom it has not heard (`strangers`)."""
    people, fsdd, strings = results["strangers"], results["fsdd"], results["strings"]
    scores = {
        "digits": people["digits"],
        "likeliest": people["likeliest"],
        "words": people["words"]["taken"],
        "words_kept": people["words"]["at_kept"],
        "noises": people["noises"]["taken"],
        "noises_kept": people["noises"]["at_kept"],
        "synthetic_noises": people["synthetic_noises"]["taken"],
        "fsdd": fsdd["likeliest"],
        "nobody": results["nobody"]["fsdd"],
    }
    texts = {f"strangers_{name}": in_words(score) for name, score in scores.items()}
    for name, score in scores.items():
        texts[f"strangers_{name}_clips"] = f"{score['clips']:,}"
        texts[f"strangers_{name}_people"] = f"{score['speakers']:,}"
    auroc, single = people["words"]["auroc"], list(results["elsewhere"].values())
    asked = sum(one["clips"] for one in single)
    worst = min(fsdd["by_speaker"], key=lambda name: fsdd["by_speaker"][name]["accuracy"])
    return {
        **texts,
        "strangers_auroc": f"{auroc['value']:.3f} (95 % interval {auroc['low']:.3f} to {auroc['high']:.3f})",
        "strangers_fsdd_worst": f"{worst}, {in_words(fsdd['by_speaker'][worst])}",
        "strangers_single": f"{round(sum(one['right'] * one['clips'] for one in single))} of {asked}",
        "strangers_strings": f"{strings['whole']} of {strings['recordings']}",
        "strangers_strings_digits": str(strings["digits"]),
        "strangers_strings_edits": str(strings["edits"]),
        "strangers_kept": f"{100 * results['kept']['share']:.0f} %",
        "strangers_mb": f"{results['bytes'] / 1e6:.1f}",
        "strangers_parameters": f"{results['parameters']:,}",
        "strangers_minutes": f"{results['made']['training'] / 60:.0f}",
        "strangers_alone_minutes": f"{results['made']['alone']['training'] / 60:.0f}",
        "strangers_alone_device": results["made"]["alone"]["device"],
        **origin("strangers", results["made"]["device"], results["made"]),
    }


# The file of book/results, without its suffix, and what words it.
PROSE: dict[str, Callable[[dict], dict[str, str]]] = {
    "fsdd": fsdd,
    "synthetic": synthetic,
    "small": small,
    "export": export,
    "bench": bench,
    "gpu": gpu,
    "seat": seat,
    "transfer": transfer,
    "strangers": strangers,
}
