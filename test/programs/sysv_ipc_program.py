#!/usr/bin/env python3
"""What python3-sysv-ipc offers, used as its documentation says, by several processes. Prints "N checks"."""
import os
import sys
import time

import sysv_ipc

checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit("wrong: " + what)


def raises(error, call, *arguments, **words):
    try:
        call(*arguments, **words)
    except error:
        return True
    return False


def in_child(body):
    """Runs body in a forked process; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException as error:
            print("in a child:", repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return pid


def ends_well(pid):
    return os.waitpid(pid, 0)[1] == 0


def semaphores():
    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    key = semaphore.key
    check(raises(sysv_ipc.ExistentialError, sysv_ipc.Semaphore, key, sysv_ipc.IPC_CREX), "an existing key")
    same = sysv_ipc.Semaphore(key)
    check(same.id == semaphore.id, "the id by key")
    check(semaphore.value == 1 and semaphore.o_time == 0, "a new semaphore")
    with semaphore:
        check(same.value == 0, "acquired")
        check(raises(sysv_ipc.BusyError, same.acquire, 0), "acquire with a timeout of 0")
        check(raises(sysv_ipc.BusyError, same.acquire, 0.05), "acquire with a timeout")
    check(same.value == 1 and semaphore.last_pid == os.getpid() and semaphore.o_time > 0, "released")
    semaphore.mode = 0o640
    check(same.mode == 0o640, "the mode")
    semaphore.value = 7
    check(same.value == 7, "the value")
    semaphore.acquire(delta=5)
    semaphore.release(delta=3)
    check(same.value == 5, "by more than one")
    semaphore.undo = True

    def leaves_undone():
        mine = sysv_ipc.Semaphore(key)
        mine.undo = True
        mine.acquire(delta=4)
        assert mine.value == 1

    check(ends_well(in_child(leaves_undone)), "a child")
    check(same.value == 5, "undone")
    semaphore.value = 1
    waiter = in_child(lambda: sysv_ipc.Semaphore(key).Z())
    while semaphore.waiting_for_zero == 0:
        time.sleep(0.01)
    semaphore.acquire()
    check(ends_well(waiter), "who waits for zero")
    waiter = in_child(lambda: sysv_ipc.Semaphore(key).acquire())
    while semaphore.waiting_for_nonzero == 0:
        time.sleep(0.01)
    semaphore.release()
    check(ends_well(waiter), "who waits for more")
    waiter = in_child(lambda: check(raises(sysv_ipc.ExistentialError, sysv_ipc.Semaphore(key).acquire), "removed"))
    while semaphore.waiting_for_nonzero == 0:
        time.sleep(0.01)
    semaphore.remove()
    check(ends_well(waiter), "who waits at the removal")
    check(raises(sysv_ipc.ExistentialError, sysv_ipc.Semaphore, key), "a removed one")


def messages():
    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, max_message_size=4096)
    same = sysv_ipc.MessageQueue(queue.key, max_message_size=4096)
    check(same.id == queue.id and queue.current_messages == 0 and queue.max_size == 16384, "a new queue")
    for kind, text in ((3, b"three"), (1, b"one"), (2, b""), (3, bytes(range(256)) * 16)):
        queue.send(text, type=kind)
    check(same.current_messages == 4 and same.last_send_pid == os.getpid(), "sent")
    check(same.receive(type=-2) == (b"one", 1), "the lowest type")
    check(same.receive(type=3) == (b"three", 3), "a type")
    check(same.receive() == (b"", 2), "the first")
    check(same.receive() == (bytes(range(256)) * 16, 3), "each byte")
    check(raises(sysv_ipc.BusyError, same.receive, block=False), "empty")
    queue.max_size = 8
    queue.send(b"12345678")
    check(raises(sysv_ipc.BusyError, queue.send, b"9", block=False), "full")
    sender = in_child(lambda: sysv_ipc.MessageQueue(queue.key).send(b"blocked", type=9))
    time.sleep(0.05)
    check(queue.receive() == (b"12345678", 1), "before the blocked one")
    check(queue.receive() == (b"blocked", 9), "the blocked one")
    check(ends_well(sender), "the sender")

    def echo():
        there = sysv_ipc.MessageQueue(queue.key)
        for _ in range(500):
            text, kind = there.receive(type=1)
            there.send(text, type=2)

    partner = in_child(echo)
    for i in range(500):
        text = str(i).encode()
        queue.send(text, type=1)
        check(queue.receive(type=2) == (text, 2), "an echo")
    check(ends_well(partner) and queue.last_receive_time > 0, "the partner")

    queue.remove()
    check(raises(OSError, queue.send, b"x"), "a removed queue")


def memory():
    memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=10000, init_character=b"-")
    check(memory.size == 10000 and memory.attached and memory.number_attached == 1, "a new segment")
    check(memory.read(5) == b"-----", "its first bytes")
    memory.write(b"hello", offset=9000)

    def child():
        mine = sysv_ipc.SharedMemory(memory.key)
        assert mine.read(5, 9000) == b"hello"
        assert mine.number_attached >= 2
        mine.write(b"from the child", offset=100)
        mine.detach()

    check(ends_well(in_child(child)), "a child")
    check(memory.read(14, 100) == b"from the child", "what it wrote")
    check(memory.creator_pid == os.getpid() and memory.last_pid != 0, "who was there")
    deadline = time.time() + 10
    while memory.number_attached != 1 and time.time() < deadline:
        time.sleep(0.01)
    check(memory.number_attached == 1, "the child has gone")
    read_only = sysv_ipc.attach(memory.id, flags=sysv_ipc.SHM_RDONLY)
    check(read_only.read(5, 9000) == b"hello", "attached by id")
    check(raises(OSError, read_only.write, b"x"), "for reading only")
    read_only.detach()
    memory.remove()
    check(memory.read(5, 9000) == b"hello", "removed and attached")
    memory.detach()
    check(raises(sysv_ipc.NotAttachedError, memory.read), "detached")
    check(raises(sysv_ipc.ExistentialError, lambda: sysv_ipc.SharedMemory(memory.key)), "a removed segment")


semaphores()
messages()
memory()
print(checks, "checks")
