// Makes a system call fail, as an old kernel or a sandbox does.
#pragma once

namespace cachectl::test {

/// From now on the system call fails with `error`, in this process and its children and
/// for ever: for forked children only. False: this system has no seccomp.
[[nodiscard]] bool deny_system_call(long number, int error);

}  // namespace cachectl::test
