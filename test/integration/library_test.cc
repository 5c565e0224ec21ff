// What libmqueuefs has beyond <mqueue.h>, through its C interface.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"

namespace mqueuefs::test {
namespace {

class Library : public ProgramTest {
 protected:
  void in_namespace(const std::function<void()>& body) {
    in_private_namespaces([&](const std::string&) {
      setenv("MQUEUEFS_PROGRAM", std::filesystem::absolute(mqueuefs_program()).c_str(), 1);
      ASSERT_EQ(program({"limits", "msgsize_max=400000"}).status, 0);
      body();
    });
  }

  static mqd_t create(const char* name, long maxmsg, long msgsize, int flags = O_NONBLOCK) {
    mq_attr attributes{};
    attributes.mq_maxmsg = maxmsg;
    attributes.mq_msgsize = msgsize;
    const mqd_t queue = mqueuefs_open(name, O_CREAT | O_RDWR | flags, 0600, &attributes);
    EXPECT_OK(queue) << name;
    return queue;
  }
  static int send(mqd_t queue, const std::string& text, unsigned priority = 0) {
    return mqueuefs_send(queue, text.data(), text.size(), priority);
  }
  static std::string receive(mqd_t queue) {
    std::string buffer(400'000, '\0');
    const ssize_t size = mqueuefs_receive(queue, buffer.data(), buffer.size(), nullptr);
    return size < 0 ? errno_name(errno) : buffer.substr(0, static_cast<size_t>(size));
  }
  static mqueuefs_message message(std::string& text, unsigned priority = 0) {
    return {text.data(), text.size(), 0, priority};
  }
};

TEST_F(Library, OpensInANamedNamespace) {
  in_namespace([] {
    EXPECT_ERRNO(ENOENT, mqueuefs_open_in("named", "/q", O_RDWR | O_CREAT, 0600, nullptr));
    ASSERT_EQ(program({"ns", "create", "named"}).status, 0);
    const mqd_t queue = mqueuefs_open_in("named", "/q", O_RDWR | O_CREAT, 0600, nullptr);
    ASSERT_OK(queue);
    EXPECT_ERRNO(ENOENT, mqueuefs_open("/q", O_RDWR));
    EXPECT_OK(mqueuefs_unlink_in("named", "/q"));
    EXPECT_ERRNO(ENOENT, mqueuefs_unlink_in("named", "/q"));
    EXPECT_OK(mqueuefs_close(queue));
    ASSERT_EQ(program({"ns", "remove", "named"}).status, 0);
  });
}

TEST_F(Library, PeekShowsAllAndTakesNothing) {
  in_namespace([] {
    const mqd_t queue = create("/q", 4, 100'000);
    const std::string longest(100'000, 'x');
    ASSERT_OK(send(queue, "last", 1));
    ASSERT_OK(send(queue, longest, 5));
    ASSERT_OK(send(queue, "", 3));
    std::string buffer(100'000, '\0');
    unsigned priority = 0;
    mqueuefs_peek* const walk = mqueuefs_peek_begin(queue);
    ASSERT_NE(walk, nullptr);
    EXPECT_EQ(mqueuefs_peek_next(walk, buffer.data(), buffer.size(), &priority), 100'000);
    EXPECT_EQ(priority, 5u);
    EXPECT_EQ(buffer, longest);
    EXPECT_EQ(mqueuefs_peek_next(walk, buffer.data(), buffer.size(), &priority), 0);
    EXPECT_ERRNO(EFAULT, mqueuefs_peek_next(walk, reinterpret_cast<char*>(8), 100, nullptr));
    EXPECT_EQ(mqueuefs_peek_next(walk, buffer.data(), buffer.size(), nullptr), 4);
    EXPECT_ERRNO(ENOMSG, mqueuefs_peek_next(walk, buffer.data(), buffer.size(), nullptr));
    mqueuefs_peek_end(walk);
    EXPECT_EQ(mqueuefs_peek_begin(-1), nullptr);
    EXPECT_EQ(errno, EBADF);
    EXPECT_EQ(receive(queue), longest);
  });
}

TEST_F(Library, SendsAndReceivesSeveralInOrder) {
  in_namespace([] {
    const mqd_t queue = create("/q", 4, 100'000);
    std::string a = "a", b(20'000, 'b'), c = "c", d, e = "e";
    std::vector<mqueuefs_message> out = {message(a), message(b), message(c), message(d), message(e)};
    EXPECT_EQ(mqueuefs_send_many(queue, out.data(), out.size(), nullptr), 4) << "the queue has room for four";
    EXPECT_ERRNO(EAGAIN, mqueuefs_send_many(queue, out.data(), out.size(), nullptr));
    EXPECT_EQ(mqueuefs_send_many(queue, out.data(), 0, nullptr), 0);

    std::vector<std::string> buffers(6, std::string(100'000, '\0'));
    std::vector<mqueuefs_message> in;
    for (std::string& buffer : buffers) in.push_back(message(buffer));
    EXPECT_EQ(mqueuefs_receive_many(queue, in.data(), in.size(), nullptr), 4);
    EXPECT_EQ(buffers[0].substr(0, in[0].length), a);
    EXPECT_EQ(buffers[1].substr(0, in[1].length), b);
    EXPECT_EQ(buffers[2].substr(0, in[2].length), c);
    EXPECT_EQ(in[3].length, 0u);
    EXPECT_ERRNO(EAGAIN, mqueuefs_receive_many(queue, in.data(), in.size(), nullptr));
    in[0].size = 10;
    EXPECT_ERRNO(EMSGSIZE, mqueuefs_receive_many(queue, in.data(), in.size(), nullptr));
    out[0].priority = 32768;
    EXPECT_ERRNO(EINVAL, mqueuefs_send_many(queue, out.data(), out.size(), nullptr));
    EXPECT_ERRNO(EBADF, mqueuefs_send_many(-1, out.data() + 1, 1, nullptr));
  });
}

TEST_F(Library, ReceivesSeveralAfterWaitingForTheFirst) {
  in_namespace([] {
    const mqd_t queue = create("/q", 4, 100, 0);
    Companion sender([&] {
      usleep(50'000);
      EXPECT_OK(send(queue, "first"));
    });
    char buffers[2][100];
    mqueuefs_message in[2] = {{buffers[0], 100, 0, 0}, {buffers[1], 100, 0, 0}};
    EXPECT_EQ(mqueuefs_receive_many(queue, in, 2, nullptr), 1);
    EXPECT_EQ(std::string(buffers[0], in[0].length), "first");
    const timespec past{1, 0};
    EXPECT_ERRNO(ETIMEDOUT, mqueuefs_receive_many(queue, in, 2, &past));
    sender.join();
  });
}

TEST_F(Library, WaitSaysWhichQueueIsReady) {
  in_namespace([] {
    const mqd_t one = create("/one", 1, 100), two = create("/two", 1, 100);
    mqueuefs_waiting queues[] = {{one, MQUEUEFS_READABLE, 7}, {two, MQUEUEFS_READABLE, 7}, {-1, MQUEUEFS_READABLE, 7}};
    const timespec past{1, 0};
    EXPECT_EQ(mqueuefs_wait(queues, 3, &past), 0);
    Companion sender([&] {
      usleep(50'000);
      EXPECT_OK(send(two, "x"));
    });
    EXPECT_EQ(mqueuefs_wait(queues, 3, nullptr), 1);
    EXPECT_EQ(queues[0].ready, 0);
    EXPECT_EQ(queues[1].ready, MQUEUEFS_READABLE);
    EXPECT_EQ(queues[2].ready, 0);
    sender.join();
    queues[1].wanted = MQUEUEFS_WRITABLE;
    EXPECT_EQ(mqueuefs_wait(queues, 2, &past), 0) << "it is full";
    queues[1].wanted = 8;
    EXPECT_ERRNO(EINVAL, mqueuefs_wait(queues, 2, &past));
    queues[1] = {1000, MQUEUEFS_READABLE, 0};
    EXPECT_EQ(mqueuefs_wait(queues, 2, &past), 1);
    EXPECT_EQ(queues[1].ready, MQUEUEFS_BROKEN);
  });
}

// What could not be delivered goes back to its place, also what came in pieces.
TEST_F(Library, MessageForReadOnlyMemoryStays) {
  in_namespace([] {
    const mqd_t queue = create("/q", 2, 300'000);
    void* const pages = mmap(nullptr, 300'000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(pages, MAP_FAILED);
    const std::string longest(300'000, 'y');
    ASSERT_OK(send(queue, longest));
    EXPECT_ERRNO(EFAULT, mqueuefs_receive(queue, static_cast<char*>(pages), 300'000, nullptr));
    EXPECT_EQ(receive(queue), longest);
    // Writable as far as the message goes.
    ASSERT_OK(mprotect(pages, 4096, PROT_READ | PROT_WRITE));
    ASSERT_OK(send(queue, "short"));
    EXPECT_EQ(mqueuefs_receive(queue, static_cast<char*>(pages), 300'000, nullptr), 5);
  });
}

}  // namespace
}  // namespace mqueuefs::test
