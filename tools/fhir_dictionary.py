#!/usr/bin/env python3
"""Writes src/fhir/dictionary/elements.tsv and codes.tsv: which elements, of which types, the resources that Heyi reads have in FHIR STU3,
R4 and R5, and the codes of those that are bound to a closed list.

Source: the npm package fhirpath 5.2.2 (LHC, U.S. National Library of Medicine; https://www.npmjs.com/package/fhirpath), whose
folders fhir-context/{stu3,r4,r5} list the elements of HL7's StructureDefinitions. Only facts are taken: names of types and
elements, their types, whether they repeat, targets of references. R4B has, for these resources, the elements of R4.

Codes: the npm packages @types/fhir 0.0.44 (r4.d.ts, r4b.d.ts, r5.d.ts) and 3.0.2 (STU3), MIT licence, whose types are made from the same
StructureDefinitions and list the codes of required bindings. An element of type code that has no list in one of the versions has none
here: its codes are not checked.

    npm pack fhirpath@5.2.2 && tar xzf fhirpath-5.2.2.tgz
    npm pack @types/fhir@0.0.44 && tar xzf types-fhir-0.0.44.tgz --one-top-level=types
    npm pack @types/fhir@3.0.2 && tar xzf types-fhir-3.0.2.tgz --one-top-level=stu3
    python3 tools/fhir_dictionary.py package types/fhir stu3/fhir
"""

import json
import pathlib
import re
import sys

VERSIONS = ["stu3", "r4", "r5"]
# What units are made of, and what their references lead to.
RESOURCES = """Patient Encounter Appointment DiagnosticReport Observation ServiceRequest ProcedureRequest ReferralRequest Specimen
Procedure Condition Practitioner PractitionerRole Organization Location RelatedPerson Coverage Bundle Group Device HealthcareService
EpisodeOfCare CareTeam Account Consent Medication Substance BiologicallyDerivedProduct NutritionProduct""".split()
HEADER = "# Made by tools/fhir_dictionary.py from the npm package fhirpath 5.2.2 (facts of HL7's StructureDefinitions); do not edit.\n"
FILE = pathlib.Path(__file__).parent.parent / "src/fhir/dictionary/elements.tsv"
CODES_HEADER = """# Made by tools/fhir_dictionary.py from the npm packages @types/fhir 0.0.44 and 3.0.2 (MIT licence); do not edit.
# element that is bound to a closed list in every version that has it as a code, the codes of all versions
"""
CODES_FILE = FILE.parent / "codes.tsv"


class Version:
    def __init__(self, folder):
        def read(name):
            return json.loads((folder / name).read_text())

        self.types = read("path2Type.json")
        self.parents = read("type2Parent.json")
        self.choices = dict(read("choiceTypePaths.json"))
        self.elsewhere = dict(read("pathsDefinedElsewhere.json"))
        self.repeating = set(read("path2Repeating.json"))
        # The children of each type or backbone element.
        self.children = {}
        for path in self.types:
            parent, _, name = path.rpartition(".")
            if parent:
                self.children.setdefault(parent, []).append(name)

    def inherited(self, structure, name):
        parent = self.parents.get(structure, "BackboneElement" if "." in structure else None)
        while parent:
            if f"{parent}.{name}" in self.types:
                return True
            parent = self.parents.get(parent)
        return False


class Types:
    """The members of each interface of a file of @types/fhir, and the codes of each, if they are listed."""

    def __init__(self, file):
        text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
        def listed(written):
            return re.findall(r"'([^']+)'", written)

        # A slip of the package for STU3: FHIR writes unknown.
        text = text.replace("'unkown'", "'unknown'")
        aliases = {name: listed(codes) for name, codes in re.findall(r"\btype (\w+)\s*=\s*((?:\s*\|?\s*'[^']+')+)\s*;", text)}
        self.members = {}
        for name, body in re.findall(r"\binterface (\w+)(?: extends \w+)? \{(.*?)\n\s*\}", text, flags=re.DOTALL):
            members = self.members.setdefault(name, {})
            for member, kind in re.findall(r"^\s*(\w+)\??: ([^;]+);", body, flags=re.MULTILINE):
                kind = kind.replace("| undefined", "").replace("[]", "").strip()
                members[member] = aliases.get(kind) or (listed(kind) if kind.startswith(("'", "('")) else [])

    def codes(self, structure, name):
        interface = "".join(part[0].upper() + part[1:] for part in structure.split("."))
        return self.members.get(interface, {}).get(name)


def plain(kind):
    return "string" if kind == "System.String" else kind.removeprefix("System.")


def main():
    package = pathlib.Path(sys.argv[1])
    versions = [Version(package / "fhir-context" / name) for name in VERSIONS]
    newer, stu3 = (pathlib.Path(name) for name in sys.argv[2:4])
    lists = [Types(stu3 / "index.d.ts"), Types(newer / "r4.d.ts"), Types(newer / "r4b.d.ts"), Types(newer / "r5.d.ts")]
    structures, wanted = {}, list(RESOURCES) + ["Resource", "DomainResource", "Element", "BackboneElement", "Extension"]
    parents = {}
    for structure in wanted:
        if structure in structures:
            continue
        elements = structures[structure] = {}
        for version in versions:
            choices = {}
            for path, kinds in version.choices.items():
                holder, _, name = path.rpartition(".")
                if holder == structure:
                    choices |= {name + kind[0].upper() + kind[1:]: name for kind in kinds}
            # What is defined by another element, such as the reference range of a component, is no child of its own.
            shared = [path.rpartition(".")[2] for path in version.elsewhere if path.rpartition(".")[0] == structure]
            for name in dict.fromkeys([*version.children.get(structure, []), *shared]):
                path = f"{structure}.{name}"
                # The value of a primitive is itself.
                if version.inherited(structure, name) or structure[0].islower():
                    continue
                kind, targets = version.types.get(path, "BackboneElement"), set()
                if isinstance(kind, dict):
                    targets = {target for target in kind.get("refType", []) if target != "Resource"}
                    kind = kind["code"]
                    any_target = not targets
                else:
                    any_target = kind == "Reference"
                if kind in ("BackboneElement", "Element") and (path in version.elsewhere or path in version.children):
                    kind = version.elsewhere.get(path, path)
                elif path in version.elsewhere:
                    kind = version.elsewhere[path]
                kind = plain(kind)
                choice = choices.get(name)
                entry = elements.setdefault((choice or name, bool(choice)), {"types": [], "repeats": False, "single": False, "targets": set(), "any": False})
                if kind not in entry["types"]:
                    entry["types"].append(kind)
                # What is defined by another element repeats as that does.
                repeats = path in version.repeating or version.elsewhere.get(path) in version.repeating
                entry["repeats"] |= repeats
                entry["single"] |= not repeats
                entry["targets"] |= targets
                entry["any"] |= any_target
                if kind not in wanted:
                    wanted.append(kind)
            if structure in version.parents:
                parents[structure] = version.parents[structure]
    for version in versions:
        for kind, parent in version.parents.items():
            parents.setdefault(kind, parent)
            if parent in structures and kind not in structures:
                structures[kind] = None
    names = set(structures) | {name for kind in list(parents) for name in (kind, parents[kind])}
    lines = []
    for structure in sorted(names):
        elements = structures.get(structure)
        parent = parents.get(structure, "BackboneElement" if "." in structure else "")
        words = []
        for (name, choice), entry in sorted((elements or {}).items()):
            kinds = "|".join(
                kind + ("(" + ",".join(sorted(entry["targets"])) + ")" if kind == "Reference" and entry["targets"] and not entry["any"] else "")
                for kind in sorted(entry["types"])
            )
            words.append(f"{name}{'[x]' if choice else ''}{'*' if entry['repeats'] else ''}{'*' if entry['repeats'] and not entry['single'] else ''}:{kinds}")
        lines.append(f"{structure}\t{parent}\t{' '.join(words)}")
    columns = "# type or backbone element, the type that it extends, its own elements: [x] a choice, * repeats in some version, ** in every version that has it, types, targets of references\n"
    FILE.write_text(HEADER + columns + "\n".join(lines) + "\n")
    print(f"{len(lines)} types, {FILE.stat().st_size} bytes")
    bound = []
    for structure, elements in sorted(structures.items()):
        for (name, _), entry in sorted((elements or {}).items()):
            if entry["types"] != ["code"]:
                continue
            # Of each version that has the element.
            found = [codes for codes in (types.codes(structure, name) for types in lists) if codes is not None]
            if found and all(found):
                bound.append(f"{structure}.{name}\t{' '.join(dict.fromkeys(code for codes in found for code in codes))}")
    CODES_FILE.write_text(CODES_HEADER + "\n".join(bound) + "\n")
    print(f"{len(bound)} elements with a closed list, {CODES_FILE.stat().st_size} bytes")


main()
