<?php
// PHP's extensions sysvmsg, sysvsem and sysvshm, which PHP loads with RTLD_DEEPBIND. Nothing may be left with the kernel.
function check(bool $right, string $what): void {
    if (!$right) {
        fwrite(STDERR, "php: $what\n");
        exit(1);
    }
}

$key = 0x6d71;
$queue = msg_get_queue($key, 0600);
check($queue !== false, 'msg_get_queue');
check(msg_send($queue, 7, ['hello', 42]), 'msg_send');
check(msg_stat_queue($queue)['msg_qnum'] === 1, 'msg_stat_queue');
check(msg_queue_exists($key), 'msg_queue_exists');
check(msg_receive($queue, 0, $type, 8192, $message) && $type === 7 && $message === ['hello', 42], 'msg_receive');
check(!msg_receive($queue, 0, $type, 8192, $message, true, MSG_IPC_NOWAIT, $error) && $error === MSG_ENOMSG, 'MSG_ENOMSG');

$semaphore = sem_get($key, 1, 0600);
check($semaphore !== false && sem_acquire($semaphore), 'sem_acquire');
check(!sem_acquire($semaphore, true), 'sem_acquire of a taken one');
check(sem_release($semaphore), 'sem_release');

$memory = shm_attach($key, 10000, 0600);
check($memory !== false && shm_put_var($memory, 1, 'kept'), 'shm_put_var');
check(shm_get_var($memory, 1) === 'kept', 'shm_get_var');

foreach (['msg', 'sem', 'shm'] as $kind) {
    check(count(file("/proc/sysvipc/$kind")) === 1, "the kernel has objects of $kind");
}
check(msg_remove_queue($queue) && sem_remove($semaphore) && shm_remove($memory), 'remove');
echo "php: ok\n";
