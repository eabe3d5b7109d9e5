#!/usr/bin/env python3
"""Writes src/hl7v2/dictionary/*.tsv: which segments, fields, components and codes HL7 v2.1 to v2.8.2 have.

Source: the Python package hl7apy 1.3.5 (MIT licence, CRS4, https://pypi.org/project/hl7apy/). Only facts are taken: names of
segments and types, numbers, repetition, versions, table numbers and codes.

    pip install hl7apy==1.3.5
    python3 tools/hl7v2_dictionary.py
"""

import importlib
import pathlib
import re

VERSIONS = ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2"]
# Tables that HL7 defines and sites rarely extend, and whose codes mappings compare with: event, message type, name type, address
# type, telecommunication use and equipment, order control and status, result and report status, value type, processing mode.
TABLES = ["0003", "0038", "0076", "0085", "0103", "0119", "0123", "0125", "0136", "0190", "0200", "0201", "0202"]
WITHDRAWN = {"WD", "", None}
HEADER = "# Made by tools/hl7v2_dictionary.py from hl7apy 1.3.5 (MIT licence); do not edit.\n"
FOLDER = pathlib.Path(__file__).parent.parent / "src/hl7v2/dictionary"


def module(version, name):
    try:
        return importlib.import_module(f"hl7apy.v{version.replace('.', '_')}.{name}")
    except ImportError:
        return None


def plain(name):
    """`CM_PAT_ID` and the like are names of the package for what the standard calls CM."""
    return "CM" if name.startswith("CM_") else name


def add(places, key, version, kind, repeats, table):
    entry = places.setdefault(key, {"versions": [], "types": [], "repeats": False, "table": ""})
    if kind in WITHDRAWN:
        return
    entry["versions"].append(version)
    if kind not in entry["types"]:
        entry["types"].append(kind)
    entry["repeats"] |= repeats
    entry["table"] = table[3:] if table else entry["table"]


def fields(content):
    """The fields of a segment: after "sequence", which ORO of v2.1 lacks, and after which empty segments have nothing."""
    if content[0] != "sequence":
        return content
    return content[1] if len(content) > 1 else ()


def structure():
    places = {}
    for version in VERSIONS:
        for segment, content in module(version, "segments").SEGMENTS.items():
            if not re.fullmatch("[A-Z][A-Z0-9]{2}", segment) or segment.startswith("Z"):
                continue
            for name, field, (_, maximum), _ in fields(content):
                number = int(name.split("_")[1])
                if maximum != 0:
                    add(places, (segment, "-", number), version, field[2], maximum != 1, field[-2])
        for kind, parts in module(version, "datatypes").DATATYPES_STRUCTS.items():
            for name, part, _, _ in parts:
                add(places, (kind, ".", int(name.rsplit("_", 1)[1])), version, part[2], False, part[-2])
    return places


def messages():
    found = {}

    def walk(message, node):
        for name, content, _, kind in node[1] if len(node) > 1 else ():
            if kind == "SEG":
                found.setdefault(message, set()).add(name)
            else:
                walk(message, content)

    for version in VERSIONS:
        for structure_name, node in module(version, "messages").MESSAGES.items():
            walk(structure_name.split("_")[0], node)
    return found


def codes():
    found = {number: set() for number in TABLES}
    for version in VERSIONS:
        tables = module(version, "tables")
        for number in TABLES if tables else []:
            found[number].update((tables.TABLES.get(f"HL7{number}") or ("", ()))[1])
    return {number: {code for code in codes if re.fullmatch(r"[\w.*-]*\w[\w.*-]*", code)} for number, codes in found.items()}


def write(name, columns, lines):
    (FOLDER / name).write_text(HEADER + f"# {columns}\n" + "".join("\t".join(line) + "\n" for line in lines))


def main():
    places = {key: entry for key, entry in structure().items() if entry["types"]}
    write(
        "structure.tsv",
        "place, first and last version, * if it repeats, data types from old to new, HL7 table",
        (
            [f"{name}{mark}{number}", f"{e['versions'][0]}-{e['versions'][-1]}", "*" if e["repeats"] else "",
             " ".join(e["types"]), e["table"]]
            for (name, mark, number), e in sorted(places.items(), key=lambda item: (item[0][1] == ".", item[0]))
        ),
    )
    write("messages.tsv", "message type, its segments", ([m, " ".join(sorted(s))] for m, s in sorted(messages().items())))
    write("codes.tsv", "HL7 table, its codes", ([t, " ".join(sorted(c))] for t, c in sorted(codes().items())))


main()
