"""Which values may stand in an `#SBATCH` line: none that sbatch could read as anything but one value."""

import re
from collections.abc import Iterator

from shared.slurm.requests.gpus import count_gpus
from shared.slurm.requests.memory import is_whole_memory, parse_memory
from shared.slurm.requests.times import parse_limit
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

# A nodelist or exclude with a slash would be read as the name of a file; quotes, spaces and # end a value.
_FORMS = {
    "partition": (r"[\w.,:@+-]+", 'must be a partition, or several with commas: "main", "main,long"'),
    "account": (r"[\w.,:@+-]+", 'must be an account of the cluster, such as "lab1"'),
    "constraint": (r"[\w.,:@+=&|*!()\[\]-]+", 'must be features without spaces and quotes, such as "intel&avx2"'),
    "nodelist": (r"[\w.,\[\]-]+", 'must be nodes, such as "node01,node[03-05]"'),
    "exclude": (r"[\w.,\[\]-]+", 'must be nodes, such as "node01,node[03-05]"'),
    "gres": (r"[\w.,:/()=+-]+", 'must be generic resources per unit, such as "gpu:v100:1"'),
    "gpus": (r"[\w.,:-]+", 'must be GPUs per unit, such as "1" or "v100:1"'),
}
_COMPILED = {name: re.compile(pattern, re.ASCII) for name, (pattern, _) in _FORMS.items()}
_LONGEST = 4096
_SHEBANG = re.compile(r"#!\s*/[\x20-\x7e]{1,250}", re.ASCII)


def check_value(field: str, value: object, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with the value of one field of a SLURM configuration or of a request's needs."""
    try:
        if field == "mem" and isinstance(value, int | str) and not is_whole_memory(value):
            parse_memory(value, path)
        elif field == "time" and isinstance(value, str):
            parse_limit(value, path)
    except Invalid as error:
        yield from error.errors
        return
    if field in _FORMS and not (isinstance(value, str) and _fits(field, value)):
        yield FieldError(path, _FORMS[field][1])
    elif field == "shebang_line" and not (isinstance(value, str) and _SHEBANG.fullmatch(value)):
        yield FieldError(path, 'must be "#!" and an absolute path, such as "#!/bin/sh"')


def _fits(field: str, value: str) -> bool:
    return (
        len(value) <= _LONGEST
        and _COMPILED[field].fullmatch(value) is not None
        and (field != "gpus" or count_gpus(value) is not None)
    )
