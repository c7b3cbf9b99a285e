"""A contract for import-linter: packages that may import only what is listed, themselves and the standard library."""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """Options: `modules` (packages that are checked), `may_import` (what they may import besides themselves)."""

    type_name = "only"

    modules = fields.ListField(subfield=fields.StringField())
    may_import = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001 - the library's interface
        """Look at direct imports, also those inside functions."""
        del verbose
        packages: list[str] = list(self.modules)  # type: ignore[call-overload]
        allowed = [*packages, *(self.may_import or [])]  # type: ignore[misc]
        wrong = [
            f"{importer} imports {imported}"
            for package in packages
            for importer in sorted({package} | graph.find_descendants(package))
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not _is_standard(imported) and not any(_is_in(imported, name) for name in allowed)
        ]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that is not allowed."""
        for line in check.metadata["wrong"]:
            output.print_error(line, bold=False)
        output.new_line()


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names
