/* A preload for the guest's kernel on CPUs with AMX.
 *
 * User Mode Linux up to 6.12 writes a task's registers by PTRACE_SETREGSET from a buffer of about
 * 2.7 KB. The host wants all of its own XSAVE area, which has 11 KB with AMX, and answers EFAULT:
 * "userspace - ptrace set fp regs failed, errno = 14". So a short write is made a long one: the
 * task's area is read, the short one laid over its beginning, and all of it written back. What lies
 * behind are the registers of AMX, which nothing in a guest uses.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(enum __ptrace_request, ...);
	static char area[1 << 16] __attribute__((aligned(64)));
	va_list rest;

	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);
	if (!next)
		next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_X86_XSTATE)
		return next(request, pid, address, data);

	const struct iovec *given = data;
	struct iovec whole = {area, sizeof area};
	if (next(PTRACE_GETREGSET, pid, address, &whole) < 0)
		return -1;
	if (given->iov_len >= whole.iov_len)
		return next(request, pid, address, data);
	memcpy(area, given->iov_base, given->iov_len);
	return next(request, pid, address, &whole);
}
