"""A product of two square matrices by each library at hand: how fast this machine can compute at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from threadpoolctl import threadpool_limits

Task = Callable[[], object]


def products(side: int, device: torch.device) -> dict[str, list[Task]]:
    """Library -> the product in each layout to try: the second matrix as it is and transposed.

    float32, with torch's number of threads in all libraries; on CUDA torch alone, in the 16 bits of mixed precision.
    """
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.rand(side, side, device=device, dtype=kind) for _ in range(2))
    found: dict[str, list[Task]] = {"torch": [lambda: a @ b, lambda: a @ b.T]}
    if device.type != "cpu":
        return found
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        # what torch.compile calls for a linear layer; a @ b is MKL's, which is slow on other makers' processors
        linear = torch.ops.mkldnn._linear_pointwise
        found["oneDNN"] = [
            lambda: linear(a, b.T, None, "none", [], ""), lambda: linear(a, b, None, "none", [], "")
        ]  # fmt: skip
    threadpool_limits(torch.get_num_threads(), user_api="blas")  # numpy's
    left, right = a.numpy(), b.numpy()
    found["numpy"] = [lambda: left @ right, lambda: left @ right.T]
    try:
        found["ONNX Runtime"] = onnx_products(side, left, right)
    except ImportError as error:
        print(f"ONNX Runtime's product is not measured: {error} (make install does)")
    return found


def onnx_products(side: int, left: object, right: object) -> list[Task]:
    """ONNX Runtime's MatMul and, for the transposed matrix, its Gemm. ImportError where it is not installed."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - optional
    from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415 - optional

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    shape = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "abc"}
    tasks: list[Task] = []
    for node in (
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("Gemm", ["a", "b"], ["c"], transB=1),
    ):
        graph = helper.make_graph([node], "product", [shape["a"], shape["b"]], [shape["c"]])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        tasks.append(lambda session=session: session.run(None, {"a": left, "b": right}))  # type: ignore[misc]
    return tasks


def measure(
    libraries: Mapping[str, Sequence[Task]], side: int, seconds: Callable[[Task], float]
) -> dict[str, float]:
    """FLOP/s of each library, in its better layout."""
    return {name: 2 * side**3 / min(seconds(task) for task in tasks) for name, tasks in libraries.items()}


def fastest(rates: Sequence[Mapping[str, float]]) -> str:
    """The library with the highest median over the rounds."""
    return max(rates[0], key=lambda name: median(rate[name] for rate in rates))
