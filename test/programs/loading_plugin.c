// What loading_program loads.
#include <sys/ipc.h>
#include <sys/msg.h>

__attribute__((visibility("default"))) int plugin_makes_a_queue(void);

int plugin_makes_a_queue(void) { return msgget(4711, IPC_CREAT | 0600); }
