"""Where training runs: on which device, and as one process or as several under torchrun.

Everything here is PyTorch's own (torch.distributed, DistributedDataParallel); this file only says when it is used. A
run of one process imports and starts none of it. Convolutions run in bfloat16 where the processor has instructions for
it (a step .29 s instead of .48, and *screw* no worse); weights, losses and the optimiser stay float32, and with AVX2
alone, which would emulate it, so does everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from edge.core.errors import TrainingError


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, for as long as the block runs; nothing without torchrun."""
    if not distributed.is_torchelastic_launched():
        yield
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process' number, 0 for the one that writes files and speaks."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait_for_all() -> None:
    """Return when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def device() -> torch.device:
    """This process' GPU where there is one, the CPU otherwise."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def has_bfloat16() -> bool:
    """Whether this process' device has instructions for bfloat16; where it is emulated it is slower than float32."""
    if device().type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def mixed_precision() -> torch.autocast:
    """Convolutions in bfloat16 where there are instructions for it: a step of training takes .6 of the time (AVX-512).

    Weights stay float32, and losses belong outside, in float32.
    """
    return torch.autocast(device().type, torch.bfloat16, enabled=has_bfloat16())


def share(batch: int) -> slice:
    """This process' share of a step's batch; TrainingError where it cannot be shared evenly."""
    if batch % processes():
        raise TrainingError(
            f"--batch {batch} cannot be shared by {processes()} processes; take a multiple of {processes()}"
        )
    return slice(rank(), None, processes())


def together(objective: nn.Module) -> nn.Module:
    """`objective` with its gradients averaged over all processes."""
    if processes() == 1:
        return objective
    return DistributedDataParallel(objective, device_ids=[device()] if device().type == "cuda" else None)
