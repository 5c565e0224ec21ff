// The ioctls against the model: no /dev/fuse, no kernel.
#include "fuse/queue_ioctl.h"

#include <fcntl.h>
#include <signal.h>

#include <cstring>
#include <string>
#include <vector>

#include "control/queue_ioctl.h"
#include "unit/ipc_fixture.h"

namespace mqueuefs::fuse {
namespace {

using control::QueueIoctl;
using std::string;

class FakeServices : public Services {
 public:
  ipc::Channel* find_channel(uint64_t id) override { return id == 7 ? channel : nullptr; }
  std::optional<ipc::AnnouncedCreation> take_announcement(ipc::TaskId, std::string_view) override {
    return {};
  }
  Status check_creation(ipc::Superblock&, const ipc::Creator&) override { return {}; }
  Status send_mapping(uint64_t target_channel, ipc::TaskId, ipc::QueueInode&) override {
    if (target_channel != 7) return Error{ENOTCONN};
    log.push_back("mapped");
    return {};
  }
  void note_refused_creation(ipc::Superblock&, const ipc::Creator&, const Error&) override {}
  Status check_unlink(ipc::TaskId, ipc::Superblock&, std::string_view) override { return {}; }
  Status start_trace(uint64_t target_channel, ipc::TaskId, ipc::QueueInode&, uint32_t payload_bytes) override {
    if (target_channel != 7) return Error{ENOTCONN};
    log.push_back("traced " + std::to_string(payload_bytes));
    return {};
  }
  bool is_undoable(ipc::TaskId, std::string_view) override { return false; }
  void note_unlinked(ipc::TaskId, std::shared_ptr<ipc::HeldQueue>) override {}
  std::unique_ptr<ipc::NotificationTarget> make_notification_target(pid_t, int type, int, uint64_t,
                                                                    uint64_t target_channel) override {
    if (type == SIGEV_THREAD && target_channel != 7) return nullptr;
    return std::make_unique<ipc::FakeTarget>(log);
  }

  ipc::Channel* channel = nullptr;
  std::vector<string> log;
};

class QueueIoctlTest : public ipc::IpcTest {
 protected:
  void SetUp() override { services.channel = &channel; }

  /// The queue is 2 messages of 16 bytes.
  OpenFile& file(int flags = O_RDWR) {
    opened.push_back(std::make_unique<OpenFile>(queue, flags));
    return *opened.back();
  }

  /// Runs a command; `answer` is what came back.
  IoctlReply run(OpenFile& on, QueueIoctl number, const string& argument) {
    const unsigned command = static_cast<unsigned>(control::queue_ioctl(number, argument.size()));
    return run_command(on, command, argument);
  }
  IoctlReply run_command(OpenFile& on, unsigned command, const string& argument) {
    std::vector<std::byte> room(argument.size(), std::byte{0xAA});  // somebody else's answer
    const IoctlReply reply = handle_queue_ioctl({on, tasks, services, {.task = 42, .uid = 1000}}, command,
                                                ipc::bytes_of(argument), room);
    EXPECT_LE(reply.size, room.size());
    answer.assign(reinterpret_cast<const char*>(room.data()), reply.size);
    return reply;
  }

  template <typename Header>
  static string bytes(const Header& header, const string& payload = {}) {
    return string(reinterpret_cast<const char*>(&header), sizeof(header)) + payload;
  }
  template <typename Header>
  Header answered(size_t at = 0) {
    Header header{};
    EXPECT_GE(answer.size(), at + sizeof(header));
    std::memcpy(&header, answer.data() + at, sizeof(header));
    return header;
  }

  IoctlReply send(OpenFile& on, const string& payload, control::SendHeader header = {}) {
    header.size = static_cast<uint32_t>(payload.size());
    return run(on, QueueIoctl::kSend, bytes(header, payload));
  }
  /// With room for `room` payload bytes.
  IoctlReply receive(OpenFile& on, control::ReceiveHeader header = {.buffer_size = 16}, size_t room = 16) {
    return run(on, QueueIoctl::kReceive, bytes(header, string(room, '?')));
  }

  std::shared_ptr<ipc::QueueInode> queue = create("q");
  std::vector<std::unique_ptr<OpenFile>> opened;
  ipc::FakeChannel channel{budget};
  FakeServices services;
  string answer;
};

TEST_F(QueueIoctlTest, SendThenReceive) {
  EXPECT_EQ(send(file(), "hello", {.priority = 5}).error, 0);
  const IoctlReply reply = receive(file());
  EXPECT_EQ(reply.error, 0);
  EXPECT_EQ(reply.outcome, control::kDone);
  const auto header = answered<control::ReceiveHeader>();
  EXPECT_EQ(header.priority, 5u);
  EXPECT_EQ(header.total, 5u);
  EXPECT_EQ(header.buffer_size, 5u);
  EXPECT_EQ(answer.substr(sizeof(header)), "hello");
}

TEST_F(QueueIoctlTest, AMessageMayBeEmpty) {
  EXPECT_EQ(send(file(), "").error, 0);
  EXPECT_EQ(queue->curmsgs(), 1u);
  EXPECT_EQ(receive(file()).error, 0);
  EXPECT_EQ(answer.size(), sizeof(control::ReceiveHeader));
}

TEST_F(QueueIoctlTest, SendChecksInOrder) {  // doc/behaviour.md E2
  OpenFile& reader = file(O_RDONLY);
  EXPECT_EQ(send(reader, string(17, 'x'), {.priority = 32768}).error, EINVAL);
  EXPECT_EQ(send(reader, string(17, 'x')).error, EBADF);
  EXPECT_EQ(send(file(3), "x").error, EBADF);
  EXPECT_EQ(send(file(), string(17, 'x')).error, EMSGSIZE);
  ASSERT_EQ(send(file(), "1").error, 0);
  ASSERT_EQ(send(file(), "2").error, 0);
  EXPECT_EQ(send(file(), "3").error, EAGAIN);
}

TEST_F(QueueIoctlTest, ReceiveChecksInOrder) {  // doc/behaviour.md E3
  EXPECT_EQ(receive(file(O_WRONLY), {.buffer_size = 15}).error, EBADF);
  EXPECT_EQ(receive(file(3), {.buffer_size = 16}).error, EBADF);
  EXPECT_EQ(receive(file(), {.buffer_size = 15}).error, EMSGSIZE);
  EXPECT_EQ(receive(file()).error, EAGAIN);
}

TEST_F(QueueIoctlTest, NothingThatTheHeaderClaimsIsBelieved) {
  EXPECT_EQ(run(file(), QueueIoctl::kSend, bytes(control::SendHeader{.size = 9}, "12345678")).error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kSend, "short").error, EINVAL);
  EXPECT_EQ(send(file(), "x", {.flags = 0x80}).error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kSendMany, "short").error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kSendMany, bytes(control::ManyHeader{.entries = 1})).error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kReceiveMany, "short").error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kReceive, "").error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kPeek, bytes(control::PeekHeader{})).error, EINVAL)
      << "no room for an entry";
  EXPECT_EQ(run(file(), QueueIoctl::kGetAttributes, "four").error, EINVAL);
  const unsigned other_size = static_cast<unsigned>(control::queue_ioctl(QueueIoctl::kSend, 100));
  EXPECT_EQ(run_command(file(), other_size, bytes(control::SendHeader{})).error, EINVAL);
  EXPECT_EQ(queue->curmsgs(), 0u);
}

TEST_F(QueueIoctlTest, OtherCommandsAreNotOurs) {
  EXPECT_EQ(run(file(), static_cast<QueueIoctl>(99), "1234").error, ENOTTY);
  EXPECT_EQ(run_command(file(), _IOW('q', 1, int), "1234").error, ENOTTY);
  EXPECT_EQ(run_command(file(), 0x5401, "").error, ENOTTY);
}

TEST_F(QueueIoctlTest, WaitingNeedsAChannel) {
  EXPECT_EQ(receive(file(), {.flags = control::kMayWait, .buffer_size = 16, .channel = 8}).error, ENOTCONN);
  EXPECT_EQ(receive(file(), {.flags = control::kMayWait, .buffer_size = 16}).error, ENOTCONN);
  ASSERT_EQ(send(file(), "1").error, 0);
  ASSERT_EQ(send(file(), "2").error, 0);
  EXPECT_EQ(send(file(), "3", {.flags = control::kMayWait, .channel = 8}).error, ENOTCONN);
}

TEST_F(QueueIoctlTest, AWaitingReceiverIsHandedTheMessage) {
  EXPECT_EQ(receive(file(), {.flags = control::kMayWait, .buffer_size = 16, .channel = 7}).outcome,
            control::kWaiting);
  ASSERT_EQ(send(file(), "handed").error, 0);
  EXPECT_EQ(queue->curmsgs(), 0u);
  EXPECT_EQ(channel.done, std::vector<int>{0});
  EXPECT_EQ(assigned(*queue, channel), "0:handed");
}

TEST_F(QueueIoctlTest, AWaitingSenderIsAdmitted) {
  ASSERT_EQ(send(file(), "1").error, 0);
  ASSERT_EQ(send(file(), "2").error, 0);
  EXPECT_EQ(send(file(), "3", {.flags = control::kMayWait, .channel = 7}).outcome, control::kWaiting);
  ASSERT_EQ(receive(file()).error, 0);
  EXPECT_EQ(channel.done, std::vector<int>{0});
  EXPECT_EQ(queue->curmsgs(), 2u);
}

TEST_F(QueueIoctlTest, APastDeadlineCountsOnlyIfTheCallWouldWait) {  // doc/behaviour.md E4
  const uint32_t flags = control::kMayWait | control::kHasDeadline;
  EXPECT_EQ(send(file(), "1", {.flags = flags, .channel = 7, .deadline_ns = 1}).outcome, control::kDone);
  EXPECT_EQ(receive(file(), {.flags = flags, .buffer_size = 16, .channel = 7, .deadline_ns = 1}).error, 0);
  EXPECT_EQ(receive(file(), {.flags = flags, .buffer_size = 16, .channel = 7, .deadline_ns = 1}).error,
            ETIMEDOUT);
}

TEST_F(QueueIoctlTest, AStagedMessageArrivesAsOne) {
  ASSERT_TRUE(channel.stage(6, 0, ipc::bytes_of("abcd")).ok());
  const control::SendHeader header{.priority = 3, .flags = control::kFromStaging, .channel = 7, .size = 6};
  EXPECT_EQ(run(file(), QueueIoctl::kSend, bytes(header)).error, EINVAL) << "a piece is missing";
  ASSERT_TRUE(channel.stage(6, 4, ipc::bytes_of("ef")).ok());
  EXPECT_EQ(run(file(O_RDONLY), QueueIoctl::kSend, bytes(header)).error, EBADF);
  EXPECT_EQ(run(file(), QueueIoctl::kSend, bytes(header)).error, 0);
  EXPECT_EQ(ipc::IpcTest::receive(*queue), "3:abcdef");
}

TEST_F(QueueIoctlTest, AReceiverMayWantTheMessageInTheChannel) {
  ASSERT_EQ(send(file(), "short").error, 0);
  const control::ReceiveHeader header{.flags = control::kIntoChannel, .buffer_size = 16, .channel = 7};
  EXPECT_EQ(receive(file(), header).outcome, control::kInPieces);
  EXPECT_EQ(assigned(*queue, channel), "0:short");
}

TEST_F(QueueIoctlTest, SeveralAreSentAndReceivedAtOnce) {
  const string three =
      bytes(control::ManyHeader{.entries = 3}) + bytes(control::ManyEntry{1, 3}, string("one\0\0\0\0\0", 8)) +
      bytes(control::ManyEntry{2, 3}, string("two\0\0\0\0\0", 8)) + bytes(control::ManyEntry{3, 5}, "three");
  EXPECT_EQ(run(file(O_RDONLY), QueueIoctl::kSendMany, three).error, EBADF);
  EXPECT_EQ(run(file(), QueueIoctl::kSendMany, three).outcome, 2) << "room for two";
  EXPECT_EQ(run(file(), QueueIoctl::kSendMany, three).error, EAGAIN);

  const control::ManyHeader wanted{.entries = 9, .buffer_size = 16};
  EXPECT_EQ(run(file(O_WRONLY), QueueIoctl::kReceiveMany, bytes(wanted)).error, EBADF);
  EXPECT_EQ(run(file(), QueueIoctl::kReceiveMany, bytes(control::ManyHeader{.entries = 9, .buffer_size = 15}))
                .error,
            EMSGSIZE);
  const IoctlReply reply = run(file(), QueueIoctl::kReceiveMany, bytes(wanted, string(100, '?')));
  EXPECT_EQ(reply.outcome, 2);
  EXPECT_EQ(reply.further.size(), 2u);
  EXPECT_EQ(answer, bytes(control::ManyHeader{2, 16}) +
                        bytes(control::ManyEntry{2, 3}, string("two\0\0\0\0\0", 8)) +
                        bytes(control::ManyEntry{1, 3}, string("one\0\0\0\0\0", 8)))
      << "and nothing of what was in the room before";
  EXPECT_EQ(run(file(), QueueIoctl::kReceiveMany, bytes(wanted, string(100, '?'))).error, EAGAIN);
}

TEST_F(QueueIoctlTest, WhatDoesNotFitAnyMoreStays) {
  ASSERT_EQ(send(file(), "0123456789", {.priority = 1}).error, 0);
  ASSERT_EQ(send(file(), "next").error, 0);
  const control::ManyHeader wanted{.entries = 9, .buffer_size = 16};
  EXPECT_EQ(run(file(), QueueIoctl::kReceiveMany, bytes(wanted, string(12, '?'))).error, EINVAL)
      << "not even one";
  EXPECT_EQ(run(file(), QueueIoctl::kReceiveMany, bytes(wanted, string(26, '?'))).outcome, 1);
  EXPECT_EQ(ipc::IpcTest::receive(*queue), "0:next");
}

TEST_F(QueueIoctlTest, WhatDoesNotFitGoesThroughTheChannel) {
  ASSERT_EQ(send(file(), "abcdef", {.priority = 4}).error, 0);
  EXPECT_EQ(receive(file(), {.buffer_size = 16}, 3).error, EINVAL) << "and is not lost";
  const IoctlReply reply = receive(file(), {.buffer_size = 16, .channel = 7}, 3);
  EXPECT_EQ(reply.outcome, control::kInPieces);
  EXPECT_FALSE(reply.taken.has_value());
  EXPECT_EQ(answered<control::ReceiveHeader>().total, 6u);
  EXPECT_EQ(answered<control::ReceiveHeader>().priority, 4u);
  EXPECT_EQ(assigned(*queue, channel), "4:abcdef");
}

TEST_F(QueueIoctlTest, AnAnswerThatIsNotDeliveredCanBeUndone) {
  ASSERT_EQ(send(file(), "first").error, 0);
  ASSERT_EQ(send(file(), "second").error, 0);
  const IoctlReply reply = receive(file());
  ASSERT_TRUE(reply.taken.has_value());
  const auto& [info, offset] = *reply.taken;
  const auto payload = ipc::bytes_of(answer).subspan(offset, info.size);
  queue->give_back({info, {payload.begin(), payload.end()}});
  EXPECT_EQ(ipc::IpcTest::receive(*queue), "0:first");
}

TEST_F(QueueIoctlTest, DirectSendIsThePayloadAlone) {
  const auto send_direct = [&](OpenFile& on, uint32_t priority, const string& payload) {
    return run_command(on, static_cast<unsigned>(control::send_direct_ioctl(priority, payload.size())), payload);
  };
  EXPECT_EQ(send_direct(file(O_RDONLY), 1, string(17, 'x')).error, EBADF) << "before the length";
  EXPECT_EQ(send_direct(file(), 1, string(17, 'x')).error, EMSGSIZE);
  EXPECT_EQ(send_direct(file(O_WRONLY), 1, "low").error, 0);
  EXPECT_EQ(send_direct(file(), control::kMaxDirectPriority, "high").error, 0);
  EXPECT_EQ(send_direct(file(), 1, "no room").error, EAGAIN);
  EXPECT_EQ(ipc::IpcTest::receive(*queue), "255:high");
  EXPECT_EQ(ipc::IpcTest::receive(*queue), "1:low");
  const auto of_other_size = static_cast<unsigned>(control::send_direct_ioctl(0, 5));
  EXPECT_EQ(run_command(file(), of_other_size, "four").error, EINVAL);
}

TEST_F(QueueIoctlTest, DirectReceiveIsThePayloadAlone) {
  const auto receive_direct = [&](OpenFile& on, size_t size) {
    return run_command(on, static_cast<unsigned>(control::receive_direct_ioctl(size)), string(size, '?'));
  };
  EXPECT_EQ(receive_direct(file(O_WRONLY), 15).error, EBADF) << "before the length";
  EXPECT_EQ(receive_direct(file(), 15).error, EMSGSIZE);
  EXPECT_EQ(receive_direct(file(), 16).error, EAGAIN);
  ASSERT_EQ(send(file(), "0123456789abcdef", {.priority = 32767}).error, 0);
  ASSERT_EQ(send(file(), "").error, 0);
  IoctlReply reply = receive_direct(file(O_RDONLY), 100);
  EXPECT_EQ(answer, "0123456789abcdef");
  EXPECT_EQ(control::direct_size(reply.outcome), 16u);
  EXPECT_EQ(control::direct_priority(reply.outcome), 32767u);
  ASSERT_TRUE(reply.taken.has_value()) << "to be undone";
  reply = receive_direct(file(), 16);
  EXPECT_EQ(reply.error, 0);
  EXPECT_EQ(reply.outcome, 0) << "empty, priority 0";
}

TEST_F(QueueIoctlTest, AReceiverMayAllowTheMessageWithTheNews) {
  constexpr control::ReceiveHeader kWait{
      .flags = control::kMayWait | control::kWithNews, .buffer_size = 16, .channel = 7};
  ASSERT_EQ(receive(file(), kWait).outcome, control::kWaiting);
  EXPECT_EQ(channel.wait_request().inline_bytes, control::kMaxNewsBytes);
  ASSERT_EQ(send(file(), "x").error, 0);
  channel.finish_fetch();
  ASSERT_EQ(receive(file(), {.flags = control::kMayWait, .buffer_size = 16, .channel = 7}).outcome,
            control::kWaiting);
  EXPECT_EQ(channel.wait_request().inline_bytes, 0u);
}

TEST_F(QueueIoctlTest, GetAttributesNeedsNoAccess) {
  ASSERT_EQ(send(file(), "x").error, 0);
  ASSERT_EQ(run(file(3), QueueIoctl::kGetAttributes, bytes(control::AttributesReply{})).error, 0);
  const auto attributes = answered<control::AttributesReply>();
  EXPECT_EQ(attributes.maxmsg, 2u);
  EXPECT_EQ(attributes.msgsize, 16u);
  EXPECT_EQ(attributes.curmsgs, 1u);
}

TEST_F(QueueIoctlTest, NotifyChecksTheTypeFirst) {  // doc/behaviour.md F2
  const control::NotifyHeader bad{.register_it = 1, .type = SIGEV_SIGNAL, .signo = 65};
  const control::NotifyHeader good{.register_it = 1, .type = SIGEV_SIGNAL, .signo = SIGUSR1};
  EXPECT_EQ(run(file(3), QueueIoctl::kNotify, bytes(good)).error, 0);
  EXPECT_EQ(run(file(), QueueIoctl::kNotify, bytes(bad)).error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kNotify, bytes(good)).error, EBUSY) << "oneself included";
  EXPECT_EQ(queue->status().notify_process, 42);
}

TEST_F(QueueIoctlTest, NotifyRemembersThroughWhichFile) {
  OpenFile& on = file();
  ASSERT_EQ(
      run(on, QueueIoctl::kNotify, bytes(control::NotifyHeader{.register_it = 1, .type = SIGEV_NONE})).error,
      0);
  EXPECT_EQ(on.registrant, 42);
  EXPECT_TRUE(services.log.empty());
  ASSERT_EQ(run(on, QueueIoctl::kNotify, bytes(control::NotifyHeader{})).error, 0);
  EXPECT_FALSE(queue->has_registration());
}

TEST_F(QueueIoctlTest, AThreadNotificationNeedsAConnection) {
  control::NotifyHeader header{.register_it = 1, .type = SIGEV_THREAD};
  EXPECT_EQ(run(file(), QueueIoctl::kNotify, bytes(header)).error, EBADF);
  EXPECT_FALSE(queue->has_registration());
  header.channel = 7;
  EXPECT_EQ(run(file(), QueueIoctl::kNotify, bytes(header)).error, 0);
  ASSERT_EQ(send(file(), "x").error, 0);
  EXPECT_EQ(services.log, std::vector<string>{"woken by 42"});
}

TEST_F(QueueIoctlTest, PeekGivesWholeMessagesAndGoesOn) {
  ASSERT_EQ(send(file(), "low", {.priority = 1}).error, 0);
  ASSERT_EQ(send(file(), "high", {.priority = 2}).error, 0);
  EXPECT_EQ(run(file(O_WRONLY), QueueIoctl::kPeek, bytes(control::PeekHeader{}, string(40, 0))).error, EBADF);
  // Room for one and a part of the next, which is left for the next answer.
  const size_t room = sizeof(control::PeekEntry) + 8 + sizeof(control::PeekEntry) + 1;
  ASSERT_EQ(run(file(), QueueIoctl::kPeek, bytes(control::PeekHeader{}, string(room, '?'))).error, 0);
  auto header = answered<control::PeekHeader>();
  ASSERT_EQ(header.entries, 1u);
  EXPECT_EQ(answer.substr(sizeof(header) + sizeof(control::PeekEntry)), string("high\0\0\0\0", 8));
  ASSERT_EQ(run(file(), QueueIoctl::kPeek, bytes(header, string(room, '?'))).error, 0);
  header = answered<control::PeekHeader>();
  ASSERT_EQ(header.entries, 1u);
  EXPECT_EQ(answered<control::PeekEntry>(sizeof(header)).priority, 1u);
  EXPECT_EQ(answer.substr(sizeof(header) + sizeof(control::PeekEntry), 3), "low");
  ASSERT_EQ(run(file(), QueueIoctl::kPeek, bytes(header, string(room, '?'))).error, 0);
  EXPECT_EQ(answered<control::PeekHeader>().entries, 0u);
  EXPECT_EQ(queue->curmsgs(), 2u);
}

TEST_F(QueueIoctlTest, PeekGivesALongMessageInParts) {
  ASSERT_EQ(send(file(), "0123456789").error, 0);
  ASSERT_EQ(send(file(), "next").error, 0);
  string whole;
  control::PeekHeader header{};
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(
        run(file(), QueueIoctl::kPeek, bytes(header, string(sizeof(control::PeekEntry) + 4, '?'))).error, 0);
    header = answered<control::PeekHeader>();
    ASSERT_EQ(header.entries, 1u);
    const auto entry = answered<control::PeekEntry>(sizeof(header));
    EXPECT_EQ(entry.total, 10u);
    whole += answer.substr(sizeof(header) + sizeof(entry), entry.size);
  }
  EXPECT_EQ(whole, "0123456789");
  ASSERT_EQ(run(file(), QueueIoctl::kPeek, bytes(header, string(sizeof(control::PeekEntry) + 4, '?'))).error,
            0);
  EXPECT_EQ(answer.substr(sizeof(header) + sizeof(control::PeekEntry)), "next");
}

TEST_F(QueueIoctlTest, TouchMovesNoMtime) {
  queue->set_attributes({.atime_s = 1, .mtime_s = 1});
  ASSERT_EQ(run(file(3), QueueIoctl::kTouch, "").error, 0);
  EXPECT_EQ(answer, "");
  ASSERT_EQ(run(file(3), QueueIoctl::kTouch, bytes(control::AttributesReply{})).error, 0);
  EXPECT_EQ(answered<control::AttributesReply>().maxmsg, 2u);
  EXPECT_GT(queue->file().atime_s, 1);
  EXPECT_EQ(queue->file().mtime_s, 1);
}

// Who may do only one of the two would be given what lets him do both.
TEST_F(QueueIoctlTest, OnlyWhoReadsAndWritesMaps) {
  const string argument = bytes(control::MapHeader{.channel = 7, .flags = 0, .reserved = 0});
  for (const int flags : {O_RDONLY, O_WRONLY, 3}) {
    EXPECT_EQ(run(file(flags), QueueIoctl::kMap, argument).error, EBADF) << flags;
    // A process that maps the queue may have it open for one direction only.
    EXPECT_EQ(run(file(flags), QueueIoctl::kTell, bytes(control::TellHeader{})).error, flags == 3 ? EBADF : 0) << flags;
  }
  const control::TellHeader used{control::kUsedNotification, 0};
  EXPECT_EQ(run(file(O_RDONLY), QueueIoctl::kTell, bytes(used)).error, EBADF) << "a notification is a sender's to report";

  EXPECT_TRUE(services.log.empty());
  EXPECT_EQ(run(file(), QueueIoctl::kMap, bytes(control::MapHeader{.channel = 8, .flags = 0, .reserved = 0})).error, ENOTCONN);
  EXPECT_EQ(run(file(), QueueIoctl::kMap, argument.substr(1)).error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kMap, argument).error, 0);
  EXPECT_EQ(services.log, std::vector<string>{"mapped"});
}

TEST_F(QueueIoctlTest, WhoTellsOfAMappingTakesItBackAlone) {
  class Process : public ipc::MappingProcess {
   public:
    bool alive() override { return true; }
    pid_t process() const override { return 42; }  // the caller's
  };
  const auto mapping = queue->map_for(std::make_unique<Process>());
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(run(file(), QueueIoctl::kTell, bytes(control::TellHeader{8, 0})).error, EINVAL);
  EXPECT_EQ(run(file(), QueueIoctl::kTell, bytes(control::TellHeader{0, 0})).error, 0);
  EXPECT_TRUE(queue->is_mapped());
  EXPECT_EQ(run(file(), QueueIoctl::kTell, bytes(control::TellHeader{control::kCouldNotMap, 77})).error, 0);
  EXPECT_TRUE(queue->is_mapped()) << "nobody's";
  EXPECT_EQ(
      run(file(), QueueIoctl::kTell, bytes(control::TellHeader{control::kCouldNotMap, mapping->incarnation})).error,
      0);
  EXPECT_FALSE(queue->is_mapped());
}

}  // namespace
}  // namespace mqueuefs::fuse
