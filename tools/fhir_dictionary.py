#!/usr/bin/env python3
"""Writes src/fhir/dictionary/elements.tsv: which elements, of which types, the resources that Heyi reads have in FHIR STU3, R4 and R5.

Source: the npm package fhirpath 5.2.2 (LHC, U.S. National Library of Medicine; https://www.npmjs.com/package/fhirpath), whose
folders fhir-context/{stu3,r4,r5} list the elements of HL7's StructureDefinitions. Only facts are taken: names of types and
elements, their types, whether they repeat, targets of references. R4B has, for these resources, the elements of R4.

    npm pack fhirpath@5.2.2 && tar xzf fhirpath-5.2.2.tgz
    python3 tools/fhir_dictionary.py package
"""

import json
import pathlib
import sys

VERSIONS = ["stu3", "r4", "r5"]
# What units are made of, and what their references lead to.
RESOURCES = """Patient Encounter Appointment DiagnosticReport Observation ServiceRequest ProcedureRequest ReferralRequest Specimen
Procedure Condition Practitioner PractitionerRole Organization Location RelatedPerson Coverage Bundle Group Device HealthcareService
EpisodeOfCare CareTeam Account Medication Substance BiologicallyDerivedProduct NutritionProduct""".split()
HEADER = "# Made by tools/fhir_dictionary.py from the npm package fhirpath 5.2.2 (facts of HL7's StructureDefinitions); do not edit.\n"
FILE = pathlib.Path(__file__).parent.parent / "src/fhir/dictionary/elements.tsv"


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


def plain(kind):
    return "string" if kind == "System.String" else kind.removeprefix("System.")


def main():
    package = pathlib.Path(sys.argv[1])
    versions = [Version(package / "fhir-context" / name) for name in VERSIONS]
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
                entry = elements.setdefault((choice or name, bool(choice)), {"types": [], "repeats": False, "targets": set(), "any": False})
                if kind not in entry["types"]:
                    entry["types"].append(kind)
                entry["repeats"] |= path in version.repeating
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
            words.append(f"{name}{'[x]' if choice else ''}{'*' if entry['repeats'] else ''}:{kinds}")
        lines.append(f"{structure}\t{parent}\t{' '.join(words)}")
    columns = "# type or backbone element, the type that it extends, its own elements: [x] a choice, * repeats, types, targets of references\n"
    FILE.write_text(HEADER + columns + "\n".join(lines) + "\n")
    print(f"{len(lines)} types, {FILE.stat().st_size} bytes")


main()
