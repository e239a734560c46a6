"""TransMIL: equal to its algorithm written out step by step, in float64."""

import pytest
import torch

import bagwise as bw
from bagwise import BagwiseError
from bagwise.models.architecture import Architecture


def values_of(count):
    return torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def nystrom(layer, x):
    """Attend through landmarks, head by head, by the equations of Xiong et al. (2021)."""
    n, m, heads = len(x), layer.landmarks, layer.heads
    stretch = -(-n // m)
    x = torch.cat([x.new_zeros(stretch * m - n, x.shape[1]), x])
    q, k, v = (layer.queries_keys_values.weight.chunk(3)[part] @ x.T for part in range(3))
    width, told = x.shape[1] // heads, []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        Q, K, V = q[own].T / width**0.5, k[own].T, v[own].T
        Q_near, K_near = (torch.stack([part.mean(0) for part in one.split(stretch)]) for one in (Q, K))
        told.append((Q, K, V, Q_near, K_near))
    A = [torch.softmax(near @ key.T, 1) for *_, near, key in told]
    largest = max(one.sum(1).max() for one in A) * max(one.sum(0).max() for one in A)
    heard = []
    for head, (Q, K, V, Q_near, K_near) in enumerate(told):
        Z, one = A[head].T / largest, torch.eye(m, dtype=x.dtype)
        for _ in range(6):
            AZ = A[head] @ Z
            Z = Z @ (13 * one - AZ @ (15 * one - AZ @ (7 * one - AZ))) / 4
        own = torch.softmax(Q @ K_near.T, 1) @ Z @ torch.softmax(Q_near @ K.T, 1) @ V
        kernel = layer.along.weight[head, 0, :, 0]
        for row in range(len(x)):
            for step in range(-16, 17):
                if 0 <= row + step < len(x):
                    own = own.index_add(0, torch.tensor([row]), (kernel[step + 16] * V[row + step])[None])
        heard.append(own)
    return layer.out(torch.cat(heard, 1))[-n:]


@pytest.mark.parametrize("size", [1, 5, 9, 20])
def test_transmil_is_what_its_algorithm_says_step_by_step(size):
    model = Architecture("transmil", None, "identity", level_options={"width": 8, "heads": 2, "dropout": 0.0})
    model = model.build((5,), 3, 0, dtype=torch.float64)
    values = values_of(size).requires_grad_()
    found = model(values, torch.tensor([0, size])).logits[0, 0]
    h = torch.clamp(model.before(values), min=0)
    side = next(side for side in range(1, 9) if side**2 >= size)
    h = torch.cat([model.token, h, h[: side**2 - size]])
    norm = [lambda x, one=one: torch.nn.functional.layer_norm(x, (8,), one.weight, one.bias) for one in model.norms]
    h = h + nystrom(model.attend[0], norm[0](h))
    square, folded = h[1:].view(side, side, 8), []
    for row in range(side):
        for column in range(side):
            told = square[row, column]
            for layer in model.over:
                half = layer.kernel_size[0] // 2
                told = told + layer.bias
                for up in range(-half, half + 1):
                    for right in range(-half, half + 1):
                        if 0 <= row + up < side and 0 <= column + right < side:
                            told = told + layer.weight[:, 0, up + half, right + half] * square[row + up, column + right]
            folded.append(told)
    h = torch.cat([h[:1], torch.stack(folded)])
    h = h + nystrom(model.attend[1], norm[1](h))
    wanted = model.head(norm[2](h)[0])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    given = [values, *model.parameters()]
    grads = [torch.autograd.grad(of.square().sum(), given, allow_unused=True) for of in (found, wanted)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_transmil_alone_depends_on_the_order_of_instances():
    model = Architecture("transmil", None, "identity", level_options={"width": 8, "heads": 2}).build((5,), 1, 0).eval()
    values, ends = values_of(9).float(), torch.tensor([0, 9])
    assert (model(values.flip(0), ends).logits - model(values, ends).logits).abs() > 1e-4
    assert {kind for kind, _ in bw.METHODS.values() if getattr(kind, "looks_at", None) == "order"} == {bw.TransMIL}


def test_columns_that_heads_cannot_share_are_refused(make_bags):
    with pytest.raises(BagwiseError, match="width is 20 and heads are 8"):
        bw.TransMIL(width=20, epochs=1).fit(make_bags())
