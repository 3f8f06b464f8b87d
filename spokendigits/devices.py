"""What computes: the device, its number format, and this process's place among several."""

import os

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from spokendigits.recipe import Recipe


def processes() -> PartialState:
    """This process's place among those that `accelerate launch` started (one of one without it), and its device."""
    # Accelerate itself asks for this flag in `Accelerator` alone.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def precision(recipe: Recipe, device: torch.device) -> str:
    """Accelerate's name for the number format: "bf16" where the hardware has it, "fp16" on older GPUs, else "no"."""
    if not recipe.mixed_precision:
        return "no"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # Emulated on other CPUs, where it would be slower than float32. torch has no public question for this.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and native() else "no"


def device_name(device: torch.device) -> str:
    """What a reader would call the device: "NVIDIA H100", or "CPU, 2 cores"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {os.cpu_count()} cores" if device.type == "cpu" else device.type.upper()
