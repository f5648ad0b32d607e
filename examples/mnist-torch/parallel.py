"""The same network, trained by all ranks of one client together. With one rank it is the same training, alone."""

import torch
import torch.distributed as dist
from client import evaluate, network
from client import examples as load
from torch.nn.functional import cross_entropy

import umbel


def examples(ctx):
    """Every rank draws the same batches, as all have the same seed; `train` takes its part of each."""
    if ctx.world_size > 1 and not dist.is_initialized():
        dist.init_process_group("gloo", init_method=ctx.rendezvous, rank=ctx.rank, world_size=ctx.world_size)
    return load(ctx)


def train(model, batches):
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in batches:  # ends at the same step at every rank
        optimizer.zero_grad()
        loss = cross_entropy(model(x[rank::size]), y[rank::size], reduction="sum") / len(y)
        loss.backward()
        if size > 1:
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
        optimizer.step()


app = umbel.torch.federate(network, train, evaluate, examples)
