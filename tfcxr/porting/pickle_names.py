"""Which names a checkpoint's pickle may hold; none of them is ever looked up.

Accepted are tensors and the functions by which PyTorch and numpy rebuild them, Python's plain data, and classes of
other programs (networks, configurations), which become `PickledObject`s. Refused are the rest of the standard library,
of PyTorch and of numpy, and other programs' functions.
"""

import re
import sys

NETWORK_MODULES = ("torch.nn", "torch.optim", "torchvision.models", "torchvision.ops", "torchxrayvision")
INERT_MODULES = (*NETWORK_MODULES, "torch._C._nn", "models.utils.config")
CLOSED_PACKAGES = {*sys.stdlib_module_names, "torch", "numpy", "tfcxr", "tfrecords_builder"}
OLD_SPELLINGS = {"__builtin__.": "builtins.", "copy_reg.": "copyreg.", "numpy._core.": "numpy.core."}
STORAGE = re.compile(r"torch\.(cuda\.|storage\.)?_?([A-Z]\w*)Storage")
TORCH_CONSTANT = re.compile(  # dtypes, layouts, and the names of tensors by dtype
    r"torch\.(b?float\d+\w*|complex\d+|q?u?int\d\w*|bool|strided|\w+_format|(cuda\.)?([A-Z]\w*)?Tensor)"
)
DATA = re.compile(
    r"builtins\.(bool|bytes|bytearray|complex|dict|Ellipsis|float|frozenset|int|list|object|range|set|slice|str|tuple|long|unicode|xrange)"
    r"|collections\.(OrderedDict|Counter|defaultdict|deque)|argparse\.Namespace|types\.SimpleNamespace"
    r"|datetime\.(date|datetime|time|timedelta|timezone)|pathlib\.(_local\.)?\w*Path"
    r"|decimal\.Decimal|fractions\.Fraction|uuid\.UUID|_codecs\.encode"
    r"|numpy\.(dtype|ndarray|bool_?|(u?int|float|complex)\d+)|numpy\.core\.multiarray\.(_reconstruct|scalar)"
    r"|numpy\.core\.numeric\._frombuffer|torch\.(Size|device|storage\._load_from_bytes|serialization\._get_layout)"
    r"|torch\._utils\._rebuild_(tensor(_v2|_v3)?|parameter(_with_state)?|device_tensor_from_(numpy|cpu_tensor))"
    r"|torch\._tensor\._rebuild_from_type_v2|torch_utils\.persistence\._reconstruct_persistent_obj"
)
NO_PLAIN_NUMBERS = {
    "torch._utils._rebuild_qtensor": "a quantised tensor; save its dequantize()",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor; save its to_dense()",
    "torch._utils._rebuild_nested_tensor": "a nested tensor; save its to_padded_tensor(0.0)",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor of the device meta, which has no numbers",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class that only its program knows; save plain tensors",
    "dnnlib.tflib.network.Network": "a program of TensorFlow 1; convert it with NVIDIA's legacy.py, and there save "
    "torch.save({name: networks[name].state_dict() for name in ('G', 'G_ema', 'D')}, 'state.pt')",
}
SAVE_WEIGHTS = "where its program runs and is trusted, save its weights: torch.save(model.state_dict(), 'weights.pt')"


def present_name(full_name: str) -> str:
    """The name in one spelling, where Python 2 and numpy 2 spell the module in another way."""
    old = next((old for old in OLD_SPELLINGS if full_name.startswith(old)), "")
    return OLD_SPELLINGS.get(old, "") + full_name.removeprefix(old)


def is_inside(full_name: str, modules: tuple[str, ...]) -> bool:
    """Whether one of these modules, or a module inside one, has the name."""
    return any(full_name.startswith(f"{module}.") for module in modules)


def check_name(full_name: str) -> None:
    """Refuses names that a checkpoint does not need.

    Raises:
      ValueError: such a name; the message gives it.
    """
    name = present_name(full_name)
    if name in NO_PLAIN_NUMBERS:
        raise ValueError(f"it holds {NO_PLAIN_NUMBERS[name]}")
    package, last = name.split(".")[0], name.split(".")[-1]
    is_class_of_others = package not in CLOSED_PACKAGES and last.lstrip("_")[:1].isupper()
    is_known = any(pattern.fullmatch(name) for pattern in (DATA, STORAGE, TORCH_CONSTANT))
    if not (is_known or is_class_of_others or is_inside(name, INERT_MODULES)):
        raise ValueError(
            f"it names {full_name[:100]!r}, which weights do not need and which could do harm; nothing was run; "
            f"{SAVE_WEIGHTS}"
        )
