/* names: what symbols are called, and how functions without call frame information are left. */
#include <string.h>

#include "native/demangle.h"
#include "native/prologue.h"

#include "support.h"

static void test_demangle(void **state)
{
    static const struct {
        const char *symbol, *name;
    } rows[] = {
        {"PyByteArray_Concat", "PyByteArray_Concat"},
        {"_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back"},
        {"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"},
        {"_RNvC6_123foo3bar", "123foo::bar"},
        {"_Z", "_Z"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf name;
        buf_init(&name, 1 << 16);
        demangle(&name, rows[i].symbol);
        buf_put_u8(&name, 0);
        assert_string_equal((char *)name.data, rows[i].name);
        buf_release(&name);
    }
}

static void test_numba(void **state)
{
    static const struct {
        const char *symbol, *module, *name;
        bool numba, wrapper;
    } rows[] = {
        {"_ZN8__main__5innerB2v2B38c8tJTIeFIjxB2IKSgI4CrvQClQZ6FczSBAA_3dE5ArrayIdLi2E1C7mutable7alignedE",
         "__main__", "inner", true, false},
        {"_ZN7cpython8__main__5innerB2v2B4c8tJE5ArrayIdLi2E1C7mutable7alignedE", "__main__", "inner", true,
         true},
        {"cfunc._ZN8__main__5innerB2v2B4c8tJE5ArrayIdLi2E1C7mutable7alignedE", "__main__", "inner", true,
         true},
        {"_ZN5numba2np9arraymath9array_sum12_3clocals_3e14array_sum_"
         "implB2v4B4c8tJE5ArrayIdLi1E1C7mutable7alignedE",
         "numba.np.arraymath", "array_sum.<locals>.array_sum_impl", true, false},
        {"_ZNSt6vectorIiSaIiEE9push_backERKi", "", "", false, false},
        {"NRT_incref", "", "", false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf name, module;
        bool wrapper = false;
        buf_init(&name, 1 << 16);
        buf_init(&module, 1 << 16);
        assert_int_equal(demangle_numba(&name, &module, &wrapper, rows[i].symbol), rows[i].numba);
        buf_put_u8(&name, 0);
        buf_put_u8(&module, 0);
        assert_string_equal((char *)name.data, rows[i].name);
        assert_string_equal((char *)module.data, rows[i].module);
        assert_int_equal(wrapper, rows[i].wrapper);
        buf_release(&name);
        buf_release(&module);
    }
}

/* rbx 3, rbp 6, r12 12: where the caller's is, from the CFA; 0: still in the register. */
static void test_prologue(void **state)
{
    static const struct {
        const char *what, *code;
        size_t len;
        uint8_t cfa_register;
        int32_t cfa_offset, rbx, rbp, r12;
    } rows[] = {
        {"at the beginning", "", 0, 7, 8, 0, 0, 0},
        {"push rbp", "\x55", 1, 7, 16, 0, -16, 0},
        {"push rbp; mov rbp, rsp; sub rsp, 32", "\x55\x48\x89\xe5\x48\x83\xec\x20", 8, 7, 48, 0, -16, 0},
        {"endbr64; push r12; push rbx; sub rsp, 8", "\xf3\x0f\x1e\xfa\x41\x54\x53\x48\x83\xec\x08", 11, 7, 32,
         -24, 0, -16},
        {"cut in the middle of an instruction", "\x55\x48\x83", 3, 7, 16, 0, -16, 0},
        {"an instruction that is not of a prologue ends it", "\x55\xc3\x53", 3, 7, 16, 0, -16, 0},
        {"OpenBLAS: sub rsp, 96; mov [rsp], rbx; mov [rsp+8], rbp; mov [rsp+16], r12; vzeroupper; mov rbx, "
         "rsp; "
         "sub rsp, 28800; and rsp, -4096",
         "\x48\x83\xec\x60\x48\x89\x1c\x24\x48\x89\x6c\x24\x08\x4c\x89\x64\x24\x10\xc5\xf8\x77\x48\x89\xe3"
         "\x48\x81\xec\x80\x70\x00\x00\x48\x81\xe4\x00\xf0\xff\xff",
         38, 3, 104, -104, -96, -88},
        {"a negative subtraction is none", "\x48\x83\xec\xf0", 4, 7, 8, 0, 0, 0},
        {"what is stored above the frame is no saved register", "\x48\x89\x5c\x24\x10", 5, 7, 8, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cfi cfi;
        prologue_rules((const uint8_t *)rows[i].code, rows[i].len, &cfi);
        print_message("%s\n", rows[i].what);
        assert_int_equal(cfi.cfa_register, rows[i].cfa_register);
        assert_int_equal(cfi.cfa_offset, rows[i].cfa_offset);
        const int32_t found[] = {cfi.rules[3].offset, cfi.rules[6].offset, cfi.rules[12].offset};
        const int32_t wanted[] = {rows[i].rbx, rows[i].rbp, rows[i].r12};
        assert_memory_equal(found, wanted, sizeof(found));
        assert_true(cfi.guessed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demangle),
        cmocka_unit_test(test_numba),
        cmocka_unit_test(test_prologue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
