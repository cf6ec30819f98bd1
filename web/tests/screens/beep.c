// Makes the machine's speaker sound for a number of seconds (1 to 9): beep SECONDS. Without a C library, to be small.
static long call(long n, long a, long b)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

static void out(unsigned short port, unsigned char value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

__attribute__((used)) static void start(long *stack)
{
    long time[2] = { ((char **)(stack + 1))[1][0] - '0', 0 };
    call(172, 3, 0); // iopl: the ports
    out(0x43, 0xb6);
    out(0x42, 0xa9);
    out(0x42, 0x04); // 1000 Hz
    out(0x61, 3);
    call(35, (long)time, 0); // nanosleep
    out(0x61, 0);
    call(60, 0, 0); // exit
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n call start");
