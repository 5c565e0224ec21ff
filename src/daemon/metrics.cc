#include "daemon/metrics.h"

#include <cstdio>
#include <initializer_list>
#include <span>
#include <tuple>
#include <utility>

namespace mqueuefs::daemon {
namespace {

using Label = std::pair<std::string_view, std::string_view>;
using Labels = std::vector<Label>;

std::string number_text(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.9g", value);
  return text;
}

// How many bytes the UTF-8 sequence at the beginning has (RFC 3629); 0: it is none.
size_t utf8_length(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = at(0);
  const size_t length = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5                  ? 4
                                                                         : 0;
  if (length == 0 || bytes.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  if (length < 3) return length;
  const uint8_t second = at(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool beyond = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
  return overlong || beyond ? 0 : length;
}

class Text {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "mqueuefs_" + std::string(name);
    text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " + std::string(type) + "\n";
  }
  void sample(const Labels& labels, const std::string& value, std::string_view suffix = "") {
    text_ += name_ + std::string(suffix);
    const char* separator = "{";
    for (const auto& [label, text] : labels) {
      if (text.empty()) continue;  // an empty label is none
      text_ += separator + std::string(label) + "=\"" + label_value(text) + "\"";
      separator = ",";
    }
    text_ += std::string(*separator == ',' ? "}" : "") + " " + value + "\n";
  }
  void sample(const Labels& labels, uint64_t value) { sample(labels, std::to_string(value)); }

  /// Counts of values up to `first_bound` seconds, ten times that, ..., and more.
  void histogram(Labels labels, std::span<const uint64_t> counts, double first_bound, double sum) {
    uint64_t total = 0;
    double bound = first_bound;
    for (size_t i = 0; i < counts.size(); ++i, bound *= 10) {
      total += counts[i];
      Labels with_bound = labels;
      const std::string le = i + 1 < counts.size() ? number_text(bound) : "+Inf";
      with_bound.emplace_back("le", le);
      sample(with_bound, std::to_string(total), "_bucket");
    }
    sample(labels, number_text(sum), "_sum");
    sample(labels, std::to_string(total), "_count");
  }

  std::string take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

/// What names a namespace in labels.
struct Names {
  std::string id;
  std::string name;
};

class Writer {
 public:
  explicit Writer(const DaemonMetrics& metrics) {
    for (const NamespaceMetrics& shown : metrics.namespaces) {
      all_.push_back(&shown);
      names_.push_back({std::to_string(shown.id), shown.name});
    }
    if (metrics.namespace_count > metrics.namespaces.size()) {
      all_.push_back(&metrics.other_namespaces);
      names_.push_back({});
    }
  }

  template <typename Value>
  void for_namespaces(std::string_view name, std::string_view type, std::string_view help, Value value) {
    text_.family(name, type, help);
    for (size_t i = 0; i < all_.size(); ++i) text_.sample(labels(i), value(*all_[i]));
  }

  enum class Rest { kShown, kLeftOut };
  template <typename Value>
  void for_queues(std::string_view name, std::string_view type, std::string_view help, Rest rest, Value value) {
    text_.family(name, type, help);
    for (size_t i = 0; i < all_.size(); ++i) {
      for (const QueueMetrics& queue : all_[i]->shown) {
        Labels with_queue = labels(i);
        const std::string shown = "/" + queue.name;
        with_queue.emplace_back("queue", shown);
        text_.sample(with_queue, value(queue));
      }
      if (rest == Rest::kShown) text_.sample(labels(i), value(all_[i]->rest));
    }
  }

  void limits() {
    for (const auto& [family, help, used] :
         {std::tuple{"limit", "The namespace's limits, see mqueuefs limits.", false},
          std::tuple{"limit_used", "Queues there are; the greatest maxmsg and msgsize of any of them.", true}}) {
      text_.family(family, "gauge", help);
      for (size_t i = 0; i < all_.size(); ++i) {
        if (names_[i].id.empty()) continue;  // a sum of limits is nothing
        const NamespaceMetrics& of = *all_[i];
        for (const auto& [limit, value, in_use] :
             {std::tuple{"queues_max", of.limits.queues_max, of.queues},
              std::tuple{"msg_max", of.limits.msg_max, of.greatest_maxmsg},
              std::tuple{"msgsize_max", of.limits.msgsize_max, of.greatest_msgsize}}) {
          Labels with_limit = labels(i);
          with_limit.emplace_back("limit", limit);
          text_.sample(with_limit, used ? in_use : value);
        }
      }
    }
  }

  void sysv_objects() {
    text_.family("sysv_objects", "gauge", "System V message queues, semaphore arrays, segments of shared memory.");
    for (size_t i = 0; i < all_.size(); ++i) {
      const SysvMetrics& of = all_[i]->sysv;
      for (const auto& [kind, count] : {std::pair{"msg", of.message_queues}, std::pair{"sem", of.semaphore_arrays},
                                        std::pair{"shm", of.memory_segments}}) {
        Labels with_kind = labels(i);
        with_kind.emplace_back("kind", kind);
        text_.sample(with_kind, count);
      }
    }
  }

  void waits() {
    text_.family("wait_seconds", "histogram", "Waits in calls to send or receive that are over, served or not.");
    for (size_t i = 0; i < all_.size(); ++i) {
      text_.histogram(labels(i), all_[i]->waits, kFirstWaitBucketNs / 1e9, all_[i]->waited_seconds);
    }
  }

  Text& text() { return text_; }

 private:
  Labels labels(size_t i) const { return {{"namespace", names_[i].id}, {"name", names_[i].name}}; }

  std::vector<const NamespaceMetrics*> all_;
  std::vector<Names> names_;
  Text text_;
};

}  // namespace

void LoopTimes::add(int64_t round_ns) {
  size_t bucket = 0;
  for (int64_t bound = 10'000; bucket + 1 < kRoundBuckets && round_ns > bound; bound *= 10) ++bucket;
  rounds[bucket]++;
  busy_ns += static_cast<uint64_t>(round_ns < 0 ? 0 : round_ns);
}

std::string label_value(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const char c = bytes.front();
    const size_t length = utf8_length(bytes);
    if (c == '\\' || c == '"') {
      text += '\\';
      text += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (length == 0 || (length == 1 && (static_cast<uint8_t>(c) < 0x20 || c == 0x7F))) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\\\x%02x", static_cast<uint8_t>(c));
      text += escape;
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return text;
}

std::string exposition(const DaemonMetrics& metrics) {
  Writer writer(metrics);
  using Rest = Writer::Rest;
  Text& text = writer.text();

  writer.for_namespaces("queues", "gauge", "Queues, unlinked ones that are in use included.",
                        [](const NamespaceMetrics& of) { return of.queues; });
  writer.for_namespaces("charged_bytes", "gauge", "What the queues are charged to RLIMIT_MSGQUEUE.",
                        [](const NamespaceMetrics& of) { return of.charged_bytes; });
  writer.limits();
  writer.waits();
  writer.sysv_objects();
  writer.for_namespaces("sysv_messages", "gauge", "Messages in System V message queues.",
                        [](const NamespaceMetrics& of) { return of.sysv.messages; });
  writer.for_namespaces("sysv_message_bytes", "gauge", "Bytes in these messages.",
                        [](const NamespaceMetrics& of) { return of.sysv.message_bytes; });
  writer.for_namespaces("sysv_memory_bytes", "gauge", "Bytes in segments of shared memory, as asked for, in whole pages.",
                        [](const NamespaceMetrics& of) { return of.sysv.memory_bytes; });

  writer.for_queues("queue_messages", "gauge", "Messages in the queue.", Rest::kShown,
                    [](const QueueMetrics& of) { return of.messages; });
  writer.for_queues("queue_bytes", "gauge", "Bytes in these messages.", Rest::kShown,
                    [](const QueueMetrics& of) { return of.bytes; });
  writer.for_queues("queue_maxmsg", "gauge", "Messages that the queue can hold.", Rest::kLeftOut,
                    [](const QueueMetrics& of) { return of.maxmsg; });
  writer.for_queues("queue_sent_total", "counter", "Messages sent.", Rest::kShown,
                    [](const QueueMetrics& of) { return of.sent; });
  writer.for_queues("queue_received_total", "counter", "Messages received.", Rest::kShown,
                    [](const QueueMetrics& of) { return of.received; });
  writer.for_queues("queue_waiting_senders", "gauge", "Calls that wait to send.", Rest::kShown,
                    [](const QueueMetrics& of) { return of.waiting_senders; });
  writer.for_queues("queue_waiting_receivers", "gauge", "Calls that wait to receive.", Rest::kShown,
                    [](const QueueMetrics& of) { return of.waiting_receivers; });
  writer.for_queues("queue_oldest_message_seconds", "gauge", "Age of the oldest message; 0: there is none.",
                    Rest::kLeftOut, [](const QueueMetrics& of) { return number_text(of.oldest_seconds); });
  writer.for_queues("queue_longest_wait_seconds", "gauge", "How long the longest call waits; 0: none does.",
                    Rest::kLeftOut, [](const QueueMetrics& of) { return number_text(of.longest_wait_seconds); });

  text.family("namespaces", "gauge", "Namespaces.");
  text.sample({}, metrics.namespace_count);
  text.family("connections", "gauge", "Connections of clients to the daemon.");
  text.sample({}, metrics.connections);
  text.family("mapping_processes", "gauge", "Processes that map queues.");
  text.sample({}, metrics.mapping_processes);
  text.family("loop_round_seconds", "histogram", "What the daemon does between two sleeps.");
  text.histogram({}, metrics.loop.rounds, 1e-5, static_cast<double>(metrics.loop.busy_ns) / 1e9);
  return text.take();
}

}  // namespace mqueuefs::daemon
