#include "seccomp/oci_state.h"

#include <nlohmann/json.hpp>

namespace mqueuefs::seccomp {
namespace {

using Json = nlohmann::json;

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string text_of(const Json* value) { return value != nullptr && value->is_string() ? value->get<std::string>() : ""; }

}  // namespace

Result<OciState> parse_oci_state(std::string_view text) {
  const Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const Json* fds = member(document, "fds");
  const Json* pid = member(document, "pid");
  if (fds == nullptr || !fds->is_array() || pid == nullptr || !pid->is_number_integer())
    return Error{EINVAL, "container process state"};
  OciState state;
  state.process = static_cast<pid_t>(pid->get<int64_t>());
  bool has_listener = false;
  for (size_t i = 0; i < fds->size() && !has_listener; ++i) {
    has_listener = text_of(&(*fds)[i]) == "seccompFd";
    state.listener = i;
  }
  if (!has_listener || state.process <= 0) return Error{EINVAL, "container process state"};
  if (const Json* container = member(document, "state")) state.container = text_of(member(*container, "id"));
  const std::string metadata = text_of(member(document, "metadata"));
  if (metadata.empty()) return state;
  if (!metadata.starts_with("ns=") || metadata.size() == 3) return Error{EINVAL, "listenerMetadata"};
  state.namespace_name = metadata.substr(3);
  return state;
}

}  // namespace mqueuefs::seccomp
