"""Makes the reference arrays beside it: what PyTorch's LSTM computes in float64, and a Linen checkpoint.

Run ``python tests/reference/make_lstm_reference.py``; it needs torch (the extra "bench"). The tests read the arrays
and need no torch; `test_torch_parity.py` uses `random_case` and `torch_results` with other shapes.
"""

from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]

KINDS = {
    "plain": {},
    "lengths": {"lengths": True},
    "stacked": {"layers": 2},
    "bidirectional": {"bidirectional": True},
    "reversed": {"reverse": True},
    "projected": {"proj_size": 2},
    "stacked_reversed_lengths": {"layers": 2, "reverse": True, "lengths": True},
    "stacked_bidirectional_projected_lengths": {
        "layers": 2,
        "bidirectional": True,
        "proj_size": 2,
        "lengths": True,
    },
}


def random_case(
    seed: int,
    *,
    batch: int = 3,
    steps: int = 6,
    features: int = 3,
    hidden: int = 4,
    layers: int = 1,
    bidirectional: bool = False,
    proj_size: int = 0,
    lengths: bool = False,
    reverse: bool = False,
) -> Arrays:
    """Inputs, initial carries, weights by PyTorch's names (``state/...``), and factors of the outputs in the loss."""
    rng = np.random.default_rng(seed)
    directions, out = (2 if bidirectional else 1), proj_size or hidden
    case: Arrays = {
        "reverse": np.array(reverse),
        "lengths": rng.integers(1, steps + 1, batch) if lengths else np.full(batch, steps),
        "x": rng.normal(size=(batch, steps, features)),
    }
    for name, shape in {
        "ys": (batch, steps, out * directions),
        "h": (layers * directions, batch, out),
        "c": (layers * directions, batch, hidden),
    }.items():
        case[f"factor/{name}"] = rng.normal(size=shape)
        if name != "ys":
            case[f"{name}0"] = rng.normal(size=shape)
    for layer in range(layers):
        for end in ("", "_reverse")[:directions]:
            shapes = {
                "weight_ih": (4 * hidden, features if layer == 0 else out * directions),
                "weight_hh": (4 * hidden, out),
                "bias_ih": (4 * hidden,),
                "bias_hh": (4 * hidden,),
            }
            if proj_size:
                shapes["weight_hr"] = (out, hidden)
            for name, shape in shapes.items():
                case[f"state/{name}_l{layer}{end}"] = rng.normal(size=shape) / np.sqrt(hidden)
    return case


def state_of(case: Arrays) -> Arrays:
    """The weights of a case, by PyTorch's names."""
    return {name.removeprefix("state/"): array for name, array in case.items() if name.startswith("state/")}


def torch_results(case: Arrays) -> Arrays:
    """PyTorch's outputs and last carries, and the gradients of the sum of all of them times their factors."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    state = {name: torch.tensor(array, requires_grad=True) for name, array in state_of(case).items()}
    hidden, proj_size = state["weight_ih_l0"].shape[0] // 4, state["weight_hh_l0"].shape[1]
    module = torch.nn.LSTM(
        case["x"].shape[2],
        hidden,
        sum(f"weight_ih_l{layer}" in state for layer in range(9)),
        bidirectional="weight_ih_l0_reverse" in state,
        proj_size=proj_size if proj_size != hidden else 0,
        batch_first=True,
        dtype=torch.float64,
    )
    x, h0, c0 = (torch.tensor(case[name], requires_grad=True) for name in ("x", "h0", "c0"))
    lengths = torch.tensor(case["lengths"])

    def in_order_of_computation(sequences: torch.Tensor) -> torch.Tensor:
        if not case["reverse"]:
            return sequences
        rows = []
        for row, length in zip(sequences, lengths, strict=True):
            rows.append(torch.cat([row[:length].flip(0), row[length:]]))
        return torch.stack(rows)

    packed = pack_padded_sequence(in_order_of_computation(x), lengths, batch_first=True, enforce_sorted=False)
    packed_ys, (h, c) = torch.func.functional_call(module, state, (packed, (h0, c0)))
    ys, _ = pad_packed_sequence(packed_ys, batch_first=True, total_length=x.shape[1])
    results = {"ys": in_order_of_computation(ys), "h": h, "c": c}
    loss = sum(torch.sum(array * torch.tensor(case[f"factor/{name}"])) for name, array in results.items())
    loss.backward()
    results |= {"gradient/x": x.grad, "gradient/h0": h0.grad, "gradient/c0": c0.grad}
    results |= {f"gradient/{name}": weight.grad for name, weight in state.items()}
    return {name: array.detach().numpy() for name, array in results.items()}


def linen_checkpoint() -> tuple[bytes, Arrays]:
    """The serialised parameters of a Linen LSTM, and what it computes from some inputs."""
    import flax.serialization
    import jax
    from flax import linen

    layer = linen.RNN(linen.OptimizedLSTMCell(5), return_carry=True)
    x = jax.random.normal(jax.random.key(1), (3, 7, 4))
    variables = layer.init(jax.random.key(2), x)
    (c, h), ys = layer.apply(variables, x)
    return flax.serialization.to_bytes(variables), {"x": np.asarray(x), "ys": ys, "c": c, "h": h}


def main() -> None:
    """Writes all files."""
    folder = Path(__file__).parent
    for seed, (kind, options) in enumerate(KINDS.items()):
        case = random_case(seed, **options)
        expected = {f"expected/{name}": array for name, array in torch_results(case).items()}
        np.savez_compressed(folder / f"lstm_{kind}.npz", **case, **expected)
    checkpoint, arrays = linen_checkpoint()
    (folder / "linen_lstm.msgpack").write_bytes(checkpoint)
    np.savez_compressed(folder / "linen_lstm.npz", **arrays)


if __name__ == "__main__":
    main()
