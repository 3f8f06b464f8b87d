"""What computes: cores, the device, its number format, and this process's place among several. Chapter 3."""

import os
from typing import TYPE_CHECKING

from spokendigits.errors import CourseError

if TYPE_CHECKING:  # both take seconds to import, and whoever only counts cores needs neither
    import torch
    from accelerate import PartialState

    from spokendigits.recipe import Recipe


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes() -> "PartialState":
    """This process's place among those that `accelerate launch` started (one of one without it), and its device."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    for name in ("DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG"):
        if parse_flag_from_env(f"ACCELERATE_USE_{name}"):
            raise CourseError(
                f"accelerate: this course does not compute with {name}. Answer no to it in `accelerate config`."
            )
    # Accelerate itself asks for this flag in `Accelerator` alone. Apple's GPU has no float64, which probabilities need.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or torch.backends.mps.is_available())


def has_bf16(device: "torch.device") -> bool:
    """Whether the hardware itself computes in bfloat16. Emulated, it would be slower than float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public question for this.
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def precision(recipe: "Recipe", device: "torch.device") -> str:
    """Accelerate's name for the number format: "bf16" where the hardware has it and gains by it, "fp16" on older GPUs, else "no"."""
    depthwise = recipe.backbone.startswith(("tf_efficientnet", "mobilenet"))  # in bfloat16 a CPU is half as fast
    if not recipe.mixed_precision or (depthwise and device.type == "cpu"):
        return "no"
    return "bf16" if has_bf16(device) else "fp16" if device.type == "cuda" else "no"


def device_name(device: "torch.device") -> str:
    """What a reader would call the device: "NVIDIA H100", or "CPU, 2 cores"."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {cores()} cores" if device.type == "cpu" else device.type.upper()
