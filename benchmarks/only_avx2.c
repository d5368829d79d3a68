// Hides AVX-512, AVX-VNNI and AMX from a process: preloaded, it makes CPUID fault (arch_prctl, Linux 4.12,
// `cpuid_fault` in /proc/cpuinfo) and answers in its place. Threads inherit the setting; exec ends it, and
// the preloaded library begins anew. Built with -DPATCHED it answers for libraries in which every CPUID was
// replaced by INTERRUPT, which faults on any CPU.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SET_CPUID = 0x1012, CPUID_BYTES = 2 };
#ifdef PATCHED
static const uint8_t faulting[] = {0xcd, INTERRUPT};
#else
static const uint8_t faulting[] = {0x0f, 0xa2};
#endif

// What leaf 7 no longer says: F, DQ, IFMA, PF, ER, CD, BW, VL in ebx; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ in
// ecx; 4VNNIW, 4FMAPS, VP2INTERSECT, AMX, FP16 in edx.
static const uint32_t hidden_ebx = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
static const uint32_t hidden_ecx = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
static const uint32_t hidden_edx = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25;
// And leaf 7.1: AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA in eax; AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX,
// AVX-VNNI-INT16, AVX10 in edx.
static const uint32_t hidden_1_eax = 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23;
static const uint32_t hidden_1_edx = 1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19;

static long let_cpuid(unsigned long allowed) {
#ifdef PATCHED
  (void)allowed;
  return 0;
#else
  return syscall(SYS_arch_prctl, SET_CPUID, allowed);
#endif
}

static void answer(int number, siginfo_t *info, void *context) {
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  if (code[0] != faulting[0] || code[1] != faulting[1]) {  // a fault of the program's own: let it happen
    signal(number, SIG_DFL);
    return;
  }
  const uint32_t leaf = (uint32_t)registers[REG_RAX], part = (uint32_t)registers[REG_RCX];
  uint32_t eax, ebx, ecx, edx;
  let_cpuid(1);
  __cpuid_count(leaf, part, eax, ebx, ecx, edx);
  let_cpuid(0);
  if (leaf == 7 && part == 0) {
    ebx &= ~hidden_ebx;
    ecx &= ~hidden_ecx;
    edx &= ~hidden_edx;
  }
  if (leaf == 7 && part == 1) {
    eax &= ~hidden_1_eax;
    edx &= ~hidden_1_edx;
  }
  registers[REG_RAX] = eax;
  registers[REG_RBX] = ebx;
  registers[REG_RCX] = ecx;
  registers[REG_RDX] = edx;
  registers[REG_RIP] += CPUID_BYTES;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction action = {0};
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (sigaction(SIGSEGV, &action, 0) || let_cpuid(0)) {
    fputs("only_avx2: this CPU or kernel cannot hide instructions\n", stderr);
    exit(2);
  }
}
