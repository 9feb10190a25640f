"""Train a small GPT on the characters of a text with every matrix on a manifold, sharded by FSDP2.

    torchrun --nproc-per-node 2 examples/train_gpt_fsdp.py --file TEXT

What differs from any other script for `fully_shard` is marked (1) to (3).

On tinyshakespeare it ends at a loss of 2.0 on text that was held out, in a minute or two of CPU; pairs of characters
alone tell about 2.5.
"""

import argparse
import json
import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm

SHARPNESS = 16.0
"""Largest logit of an attention, whose queries and keys are normalised."""

LOGITS = 2.0
"""Scale of the logits of characters, whose RMS is at most 1 before: weights on their manifolds cannot grow."""


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:])


class Block(nn.Module):
    """Causal attention and an MLP, each on normalised inputs and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        scale = SHARPNESS / q.shape[-1]
        y = F.scaled_dot_product_attention(norm(q), norm(k), v, is_causal=True, scale=scale)
        return self.out(y.transpose(1, 2).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(norm(x))
        return x + self.down(F.gelu(self.up(norm(x))))


class GPT(nn.Module):
    """A plain one, with learned positions."""

    def __init__(self, characters: int, width: int, heads: int, depth: int, context: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.head = nn.Linear(width, characters, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return LOGITS * self.head(norm(x))


def main() -> None:
    args = parsed()
    if "RANK" not in os.environ:
        raise SystemExit(f"start it by torchrun, e.g.\n    torchrun --nproc-per-node 2 {__file__}")
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        train(args, device, Console(quiet=dist.get_rank() > 0))
    finally:
        dist.destroy_process_group()


def train(args: argparse.Namespace, device: torch.device, console: Console) -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    if args.batch_size % size:
        refuse(f"{size} processes cannot share batches of {args.batch_size} evenly; choose another --batch-size")
    text, held_out, characters = read(args.file, args.context)
    torch.manual_seed(args.seed)  # every process makes the same weights, and keeps its part of them
    model = GPT(characters, args.width, args.heads, args.depth, args.context)

    # (1) plan while the model is whole: every parameter's manifold, norm and share of one learning rate
    example = torch.zeros(1, args.context, dtype=torch.int64)
    plan = mm.modularize(model, (example,), {"blocks.*": mm.Rule(sensitivity=1.0)})
    plan.project_()

    # (2) shard as ever
    mesh = dist.device_mesh.init_device_mesh(device.type, (size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)

    # (3) bind the plan to the parameters that fully_shard has put in the places of the old ones
    optimizer = mm.ModularOptimizer(plan.bind(model), lr=args.lr, momentum=0.9)

    step = prepare(args, model, optimizer, characters)
    console.print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {size} processes, {device.type}")
    console.print(f"{len(text):,} characters of {characters} kinds, from step {step} to {args.steps}")
    with bar(console) as progress:
        task = progress.add_task("training", total=args.steps, completed=step, loss="")
        while step < args.steps:
            for group in optimizer.param_groups:
                group["lr"] = args.lr * (1 - step / args.steps)
            # drawn for all processes alike, from the step alone: nothing of it need be saved
            generator = torch.Generator().manual_seed(args.seed * args.steps + step)
            starts = torch.randint(len(text) - args.context, (args.batch_size,), generator=generator)
            loss = loss_of(model, text, starts.chunk(size)[rank], device)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % args.log_every == 0 or step == args.steps:
                shown = f"loss {mean(loss.detach()):.3f}"
                progress.update(task, loss=shown)
                if not console.is_terminal:
                    console.print(f"step {step}/{args.steps}: {shown}")
            progress.update(task, completed=step)
            if step % args.save_every == 0 or step == args.steps:
                save(args.out, step, model, optimizer)
    console.print(
        f"loss on the last tenth of the text, which was held out: {evaluate(model, held_out, args, device):.3f}"
    )
    console.print(f"checkpoint: {folder_of(args.out, step)}", soft_wrap=True)


def loss_of(model: nn.Module, text: Tensor, starts: Tensor, device: torch.device) -> Tensor:
    """Cross-entropy of the next characters, in pieces of the text."""
    context = model.positions.num_embeddings
    pieces = text[starts[:, None] + torch.arange(context + 1)].to(device)
    return F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())


def refuse(message: str) -> NoReturn:
    """End every process, and say why once."""
    raise SystemExit(f"error: {message}" if dist.get_rank() == 0 else 1)


def mean(x: Tensor) -> float:
    """Over the processes."""
    dist.all_reduce(x)
    return float(x) / dist.get_world_size()


@torch.no_grad()
def evaluate(model: nn.Module, text: Tensor, args: argparse.Namespace, device: torch.device, batches: int = 8) -> float:
    """On pieces spread evenly over the text."""
    rank, size = dist.get_rank(), dist.get_world_size()
    starts = torch.linspace(0, len(text) - args.context - 1, batches * args.batch_size).long()
    losses = [loss_of(model, text, batch.chunk(size)[rank], device) for batch in starts.chunk(batches)]
    return mean(torch.stack(losses).mean())


def read(path: Path | None, context: int) -> tuple[Tensor, Tensor, int]:
    """A text as numbers, its last tenth apart, and how many kinds of characters it has."""
    paths = [path] if path else sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = "".join(p.read_text(encoding="utf-8", errors="replace") for p in paths).encode("ascii", "replace")
    alphabet, numbers = torch.frombuffer(bytearray(text), dtype=torch.uint8).unique(return_inverse=True)
    if len(numbers) // 10 <= context + 1:
        refuse(f"{path} has {len(text)} characters, too few for a context of {context}")
    train, held_out = numbers.tensor_split([len(numbers) - len(numbers) // 10])
    return train, held_out, len(alphabet)


# checkpoints


def folder_of(out: Path, step: int) -> Path:
    return out / f"step-{step:06}"


def finished(out: Path) -> Iterator[Path]:
    """Folders of whole checkpoints, oldest first: a checkpoint's .metadata is written last."""
    return (path.parent for path in sorted(out.glob("step-*/.metadata")))


def save(out: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint, every process its part, and delete older ones but the last."""
    weights, states = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": states}, checkpoint_id=folder_of(out, step))
    if dist.get_rank() == 0:
        for old in list(finished(out))[:-2]:
            shutil.rmtree(old)


def prepare(args: argparse.Namespace, model: nn.Module, optimizer: torch.optim.Optimizer, characters: int) -> int:
    """Load the last checkpoint if there is one and it is wanted; the step it was taken at."""
    settings = {name: value for name, value in vars(args).items() if name in SETTINGS} | {"characters": characters}
    path, checkpoints = args.out / "settings.json", list(finished(args.out))
    if not args.resume and checkpoints:
        refuse(f"{args.out} has a run already: --resume carries on with it, or name another --out")
    if args.resume and not checkpoints:
        refuse(f"{args.out} has no checkpoint to resume from")
    dist.barrier()
    if not args.resume:
        if dist.get_rank() == 0:
            args.out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings, indent=1))
        return 0
    before = json.loads(path.read_text())
    changed = [
        f"{name} was {before.get(name)}, now {value}" for name, value in settings.items() if before.get(name) != value
    ]
    if changed:
        refuse(f"{args.out} was begun with other settings: {'; '.join(changed)}")
    weights, states = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": weights, "optimizer": states}
    dcp.load(state, checkpoint_id=checkpoints[-1])  # on any number of processes
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return int(checkpoints[-1].name.removeprefix("step-"))


# the command line

SETTINGS = ("width", "heads", "depth", "context", "steps", "batch_size", "lr", "seed")
"""What a run is resumed with."""


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a small GPT on the characters of a text, every matrix on a manifold, sharded by "
        "fully_shard: on CUDA devices where there are any (nccl), else on CPU (gloo).",
        epilog="examples:\n"
        "  torchrun --nproc-per-node 2 examples/train_gpt_fsdp.py --file shakespeare.txt --out runs/gpt\n"
        "  torchrun --nproc-per-node 1 examples/train_gpt_fsdp.py --file shakespeare.txt --out runs/gpt --resume",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
    )
    add = parser.add_argument
    add("--file", type=Path, help="the text (default: the source code of Python's standard library)")
    add("--out", type=Path, default=Path("runs/gpt-fsdp"), help="folder of checkpoints (default: %(default)s)")
    add("--resume", action="store_true", help="carry on from the last checkpoint, on any number of processes")
    add("--steps", type=positive, default=1000, help="(default: %(default)s)")
    add("--batch-size", type=positive, default=16, help="pieces of text, of all processes (default: %(default)s)")
    add("--lr", type=float, default=1.5, help="falls linearly to 0 (default: %(default)s)")
    add("--width", type=positive, default=64, help="(default: %(default)s)")
    add("--heads", type=positive, default=4, help="must divide the width (default: %(default)s)")
    add("--depth", type=positive, default=2, help="blocks (default: %(default)s)")
    add("--context", type=positive, default=64, help="characters (default: %(default)s)")
    add("--save-every", type=positive, default=100, metavar="STEPS", help="(default: %(default)s)")
    add("--log-every", type=positive, default=20, metavar="STEPS", help="(default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args()
    if args.width % args.heads:
        parser.error(f"--width {args.width} is not divisible by --heads {args.heads}")
    if args.file is not None and not args.file.is_file():
        parser.error(f"--file {args.file} is no file")
    return args


def positive(given: str) -> int:
    if int(given) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(given)


def bar(console: Console) -> Progress:
    """On a terminal; elsewhere lines are printed instead."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


if __name__ == "__main__":
    main()
