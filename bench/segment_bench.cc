// What a send and a receive cost in one process, without waiting, rights or a way to get there.
//
// Each iteration is one send and one receive, so that the depth stays the same.

#include <benchmark/benchmark.h>

#include <vector>

#include "segment/segment_memory.h"

namespace mqueuefs {
namespace {

/// Arguments: maxmsg, messages that stay queued, payload bytes, priorities in use.
void send_and_receive(benchmark::State& state) {
  const auto maxmsg = static_cast<uint32_t>(state.range(0));
  const auto depth = static_cast<uint32_t>(state.range(1));
  const auto size = static_cast<uint32_t>(state.range(2));
  const auto priorities = static_cast<uint32_t>(state.range(3));
  const Result<SegmentMemory> memory = SegmentMemory::create({maxmsg, size});
  if (!memory) return state.SkipWithError("no segment");
  const SharedQueue queue = memory->queue();
  const Seat seat{queue.join(1, 1).value(), 0};
  Aftermath after;
  const std::vector<std::byte> payload(size, std::byte{'p'});
  std::vector<std::byte> buffer(size);

  // A multiplicative hash, so that neighbouring messages have distant priorities.
  uint32_t count = 0;
  const auto next_priority = [&] {
    return (++count * 2654435761U >> 8) % priorities * (kPriorities / priorities);
  };
  for (uint32_t i = 0; i < depth; ++i) {
    if (!queue.try_send(seat, next_priority(), payload, after)) return state.SkipWithError("send");
  }
  for (auto _ : state) {
    const bool sent = queue.try_send(seat, next_priority(), payload, after).ok();
    const bool received = queue.try_receive(seat, buffer, after).ok();
    if (!sent || !received) return state.SkipWithError("send or receive");
    benchmark::DoNotOptimize(buffer.data());
  }
}

/// A whole large queue filled and drained, with the giving back of its memory: time for one message.
void fill_and_drain(benchmark::State& state) {
  const auto maxmsg = static_cast<uint32_t>(state.range(0));
  const auto size = static_cast<uint32_t>(state.range(1));
  const Result<SegmentMemory> memory = SegmentMemory::create({maxmsg, size});
  if (!memory) return state.SkipWithError("no segment");
  const SharedQueue queue = memory->queue();
  const Seat seat{queue.join(1, 1).value(), 0};
  Aftermath after;
  const std::vector<std::byte> payload(size, std::byte{'p'});
  std::vector<std::byte> buffer(size);
  for (auto _ : state) {
    bool done = true;
    for (uint32_t i = 0; i < maxmsg; ++i)
      done &= queue.try_send(seat, i % 4, payload, after).ok();
    for (uint32_t i = 0; i < maxmsg; ++i)
      done &= queue.try_receive(seat, buffer, after).ok();
    if (!done) return state.SkipWithError("send or receive");
  }
  state.SetItemsProcessed(state.iterations() * maxmsg);
}

}  // namespace

void register_segment_benchmarks() {
  benchmark::RegisterBenchmark("segment/pair", send_and_receive)
      ->ArgNames({"maxmsg", "depth", "bytes", "priorities"})
      ->Args({10, 0, 64, 1})
      ->Args({11, 10, 64, 1})
      ->Args({11, 10, 64, 32768})
      ->Args({65536, 32768, 64, 1})
      ->Args({65536, 32768, 64, 4})
      ->Args({65536, 32768, 64, 32768})
      ->Args({10, 0, 8192, 1})
      ->Args({11, 10, 8192, 1})
      ->Args({4, 0, 1 << 20, 1});
  benchmark::RegisterBenchmark("segment/fill_and_drain", fill_and_drain)
      ->ArgNames({"maxmsg", "bytes"})
      ->Args({65536, 64})
      ->Args({4096, 8192});
}

}  // namespace mqueuefs
