#include <ostream>

#include "client/cli/commands.h"
#include "client/cli/exit_code.h"

namespace finetune::cli {
namespace {

struct UploadUrlFlags {
  std::string file_name;
  bool is_public = false;
};

std::string ShellQuoted(const std::string& text) {
  std::string result = "'";
  for (char c : text) c == '\'' ? result.append("'\\''") : result.append(1, c);
  return result.append("'");
}

int MakeUploadUrl(Session& session, FineTuneClient& client, const UploadUrlFlags& flags) {
  auto url = client.CreateUploadUrl(flags.file_name, flags.is_public);
  if (!url.ok()) return session.Fail(url.status());
  if (!session.for_people()) {
    session.Print(*url);
    return kSuccess;
  }
  session.out << "data_source_uri  " << Printable(url->data_source_uri()) << "\n"
              << "upload_uri       " << Printable(url->upload_uri()) << "\n";
  for (const auto& [name, value] : url->required_headers()) {
    session.out << "header           " << Printable(name) << ": " << Printable(value) << "\n";
  }
  session.out << "\ncurl --upload-file " << ShellQuoted(flags.file_name);
  for (const auto& [name, value] : url->required_headers()) {
    session.out << " --header " << ShellQuoted(Printable(absl::StrCat(name, ": ", value)));
  }
  session.out << " " << ShellQuoted(Printable(url->upload_uri())) << "\n";
  return kSuccess;
}

}  // namespace

void AddUploadUrl(CLI::App& app, Session& session) {
  auto flags = std::make_shared<UploadUrlFlags>();
  CLI::App* command = app.add_subcommand("upload-url", "Get a URL to which a dataset can be PUT");
  command->add_option("file", flags->file_name, "The zip's file name, such as dogs.zip")
      ->required();
  command->add_flag("--public", flags->is_public,
                    "Let anyone read the uploaded file; FAST_FLUX needs it");
  command->footer(
      "Whoever has the URL can write the file. Use its data_source_uri with `finetune create "
      "--data`.\n"
      "Examples:\n"
      "  finetune upload-url dogs.zip --public\n"
      "  finetune upload-url dogs.zip --public -o json | jq -r .uploadUri");
  command->callback([flags, &session] {
    session.exit_code = WithClient(
        session, [&](FineTuneClient& client) { return MakeUploadUrl(session, client, *flags); });
  });
}

}  // namespace finetune::cli
