"""Writes the reference page of the contract: reference.py DESCRIPTOR_SET > reference.md. All it says stands in the protos' comments."""

import sys

from google.protobuf import descriptor_pb2

SCALARS = {number: name[5:].lower() for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}


class Page:
    def __init__(self, file):
        self.file = file
        self.comments = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}

    def text(self, path):
        return " ".join(self.comments.get(path, "").split())

    def write(self):
        for number, service in enumerate(self.file.service):
            self.service(service, (6, number))
        for number, message in enumerate(self.file.message_type):
            self.message(message, (4, number), message.name)
        for number, enum in enumerate(self.file.enum_type):
            self.enum(enum, (5, number), enum.name)

    def service(self, service, path):
        print(f"## {service.name}\n\n{self.text(path)}\n")
        for number, method in enumerate(service.method):
            asked, told = (self.link(kind) for kind in (method.input_type, method.output_type))
            asked, told = "stream of " * method.client_streaming + asked, "stream of " * method.server_streaming + told
            print(f"### {method.name}\n\n{asked} → {told}\n\n{self.text((*path, 2, number))}\n")

    def message(self, message, path, name):
        print(f"## {name}\n\n{self.text(path)}\n")
        if message.field:
            print("| field | type | number | |\n|---|---|---|---|")
        for number, field in enumerate(message.field):
            kind = self.link(field.type_name) if field.type_name else SCALARS[field.type]
            nested = {f".{self.file.package}.{name}.{inner.name}": inner for inner in message.nested_type}
            entry = nested.get(field.type_name)
            if entry is not None and entry.options.map_entry:
                kind = "map of " + " to ".join(self.link(f.type_name) if f.type_name else SCALARS[f.type] for f in entry.field)
            elif field.label == field.LABEL_REPEATED:
                kind = f"list of {kind}"
            one_of = ""
            if field.HasField("oneof_index") and not field.proto3_optional:
                one_of = f"One of `{message.oneof_decl[field.oneof_index].name}`. "
            print(f"| `{field.name}` | {kind} | {field.number} | {one_of}{self.text((*path, 2, number))} |")
        print()
        for number, enum in enumerate(message.enum_type):
            self.enum(enum, (*path, 4, number), f"{name}.{enum.name}")
        for number, inner in enumerate(message.nested_type):
            if not inner.options.map_entry:
                self.message(inner, (*path, 3, number), f"{name}.{inner.name}")

    def enum(self, enum, path, name):
        print(f"## {name}\n\n{self.text(path)}\n\n| value | number | |\n|---|---|---|")
        for number, value in enumerate(enum.value):
            print(f"| `{value.name}` | {value.number} | {self.text((*path, 2, number))} |")
        print()

    def link(self, type_name):
        own = f".{self.file.package}."
        if not type_name.startswith(own):
            return f"`{type_name.lstrip('.')}`"
        name = type_name[len(own):]
        return f"[{name}](#{name.replace('.', '').lower()})"


def main(path):
    with open(path, "rb") as file:
        files = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    print("# Reference of the contract\n\nMade from the protos; the package is `segmind.finetune.v1`.\n")
    for file in sorted((f for f in files if f.package.startswith("segmind.")), key=lambda f: -len(f.service)):
        Page(file).write()


if __name__ == "__main__":
    main(sys.argv[1])
