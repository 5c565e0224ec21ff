// A program that reaches the queues past the C library's usual way: loading_program deepbind PLUGIN | mount DIR.
//
// deepbind: a plug-in, loaded as PHP loads its extensions, makes a queue; "kernel" if the kernel's IPC namespace has it.
// mount: mounts type mqueue by fsopen(2), fsconfig(2), fsmount(2) and move_mount(2), source "the-source".
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char* what) {
  perror(what);
  return 1;
}

static int load(const char* plugin) {
  void* const handle = dlopen(plugin, RTLD_NOW | RTLD_GLOBAL | RTLD_DEEPBIND);
  if (handle == NULL) {
    puts(dlerror());
    return 1;
  }
  int (*make)(void) = (int (*)(void))dlsym(handle, "plugin_makes_a_queue");
  if (make == NULL || make() < 0) return fail("plugin");
  FILE* const list = fopen("/proc/sysvipc/msg", "r");
  if (list == NULL) return fail("/proc/sysvipc/msg");
  char line[300];
  int lines = 0;
  while (fgets(line, sizeof line, list) != NULL) ++lines;
  fclose(list);
  puts(lines > 1 ? "kernel" : "ours");
  return 0;
}

static int mount_by_context(const char* dir) {
  const int context = fsopen("mqueue", FSOPEN_CLOEXEC);
  if (context < 0) return fail("fsopen");
  if (fsconfig(context, FSCONFIG_SET_STRING, "source", "the-source", 0) != 0) return fail("fsconfig source");
  if (fsmount(context, 0, 0) >= 0) return fail("fsmount without CMD_CREATE");
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) return fail("fsconfig create");
  const int mount = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
  if (mount < 0) return fail("fsmount");
  if ((fcntl(mount, F_GETFD) & FD_CLOEXEC) == 0) return fail("FSMOUNT_CLOEXEC");
  close(context);
  if (move_mount(mount, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) != 0) return fail("move_mount");
  close(mount);
  return 0;
}

int main(int count, char** words) {
  if (count != 3) return 2;
  return strcmp(words[1], "mount") == 0 ? mount_by_context(words[2]) : load(words[2]);
}
