/* SHA-256 (FIPS 180-4) of many pieces at once, and HMAC (RFC 2104) over it, with the processor's SHA instructions.

   One piece keeps those instructions waiting for their own results: two rounds take four cycles and could begin every two.
   Three pieces side by side fill the gaps: 3.5 GB/s where one takes 1.8. Pieces need not be of one length: a lane
   that has come to the end of its piece goes on with the next one.

   gateway/signing/digests.py is what the package imports, and says what takes this module's place where it is not: not compiled,
   another processor, one without these instructions (importing fails then). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define LANES 3
#define BLOCK 64  /* bytes */
#define DIGEST 32 /* bytes */
#define FREES 2048 /* bytes from which others may run meanwhile */
#define WITH_SHA __attribute__((target("sha,sse4.1")))

/* FIPS 180-4, section 4.2.2. */
static const uint32_t ROUND[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* FIPS 180-4, section 5.3.3. */
static const uint32_t INITIAL[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

typedef __m128i words; /* four of 32 bits */

/* One piece on its way: its state a to h, what is left of it, and where its digest goes. */
typedef struct {
    uint32_t state[8];
    const uint8_t *at;
    size_t left;  /* bytes */
    size_t all;   /* bytes that the digest is of */
    uint8_t *out; /* DIGEST bytes */
} Lane;

/* Take `blocks` blocks of each of `count` lanes. The instructions want a, b, e, f in one register and c, d, g, h in another. */
WITH_SHA static inline __attribute__((always_inline)) void
blocks_of(Lane *const lanes[], const int count, size_t blocks)
{
    const words swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203); /* big-endian words */
    words abef[LANES], cdgh[LANES];
    const uint8_t *at[LANES];
    for (int i = 0; i < count; i++) {
        const words abcd = _mm_shuffle_epi32(_mm_loadu_si128((const words *)lanes[i]->state), 0xB1);
        const words efgh = _mm_shuffle_epi32(_mm_loadu_si128((const words *)(lanes[i]->state + 4)), 0x1B);
        abef[i] = _mm_alignr_epi8(abcd, efgh, 8);
        cdgh[i] = _mm_blend_epi16(efgh, abcd, 0xF0);
        at[i] = lanes[i]->at;
        lanes[i]->at += blocks * BLOCK;
        lanes[i]->left -= blocks * BLOCK;
    }
    while (blocks--) {
        words before[LANES][2], w[LANES][4];
        for (int i = 0; i < count; i++) {
            before[i][0] = abef[i];
            before[i][1] = cdgh[i];
            for (int j = 0; j < 4; j++)
                w[i][j] = _mm_shuffle_epi8(_mm_loadu_si128((const words *)(at[i] + 16 * j)), swap);
            at[i] += BLOCK;
        }
#pragma GCC unroll 16
        for (int four = 0; four < 16; four++) {
            const words constants = _mm_load_si128((const words *)(ROUND + 4 * four));
#pragma GCC unroll 3
            for (int i = 0; i < count; i++) {
                words *const now = &w[i][four & 3], next = w[i][(four + 1) & 3], last = w[i][(four + 3) & 3];
                const words sum = _mm_add_epi32(*now, constants);
                cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], sum);
                abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], _mm_shuffle_epi32(sum, 0x0E));
                if (four < 12) {
                    const words seventh = _mm_alignr_epi8(last, w[i][(four + 2) & 3], 4);
                    *now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(*now, next), seventh), last);
                }
            }
        }
        for (int i = 0; i < count; i++) {
            abef[i] = _mm_add_epi32(abef[i], before[i][0]);
            cdgh[i] = _mm_add_epi32(cdgh[i], before[i][1]);
        }
    }
    for (int i = 0; i < count; i++) {
        const words feba = _mm_shuffle_epi32(abef[i], 0x1B), dchg = _mm_shuffle_epi32(cdgh[i], 0xB1);
        _mm_storeu_si128((words *)lanes[i]->state, _mm_blend_epi16(feba, dchg, 0xF0));
        _mm_storeu_si128((words *)(lanes[i]->state + 4), _mm_alignr_epi8(dchg, feba, 8));
    }
}

/* Compiled for each number of lanes, so that their registers have names. */
WITH_SHA static void one(Lane *const lanes[], size_t blocks) { blocks_of(lanes, 1, blocks); }
WITH_SHA static void two(Lane *const lanes[], size_t blocks) { blocks_of(lanes, 2, blocks); }
WITH_SHA static void three(Lane *const lanes[], size_t blocks) { blocks_of(lanes, 3, blocks); }
static void (*const TAKE[LANES + 1])(Lane *const[], size_t) = {NULL, one, two, three};

static void store_big_endian(uint8_t *out, const uint32_t state[8])
{
    for (int i = 0; i < 8; i++) {
        const uint32_t word = __builtin_bswap32(state[i]);
        memcpy(out + 4 * i, &word, 4);
    }
}

/* Take what is left of a lane and the padding after it (FIPS 180-4, section 5.1.1), and write the digest. */
static void finish(Lane *lane)
{
    uint8_t last[2 * BLOCK] = {0};
    Lane *const alone[] = {lane};
    if (lane->left >= BLOCK)
        one(alone, lane->left / BLOCK);
    const size_t rest = lane->left, blocks = rest + 9 > BLOCK ? 2 : 1;
    const uint64_t bits = __builtin_bswap64((uint64_t)lane->all * 8);
    if (rest)
        memcpy(last, lane->at, rest);
    last[rest] = 0x80;
    memcpy(last + blocks * BLOCK - 8, &bits, 8);
    lane->at = last;
    lane->left = blocks * BLOCK;
    one(alone, blocks);
    store_big_endian(lane->out, lane->state);
}

static void begin(Lane *lane, const Py_buffer *piece, uint8_t *out)
{
    memcpy(lane->state, INITIAL, sizeof INITIAL);
    lane->at = piece->buf;
    lane->left = lane->all = (size_t)piece->len;
    lane->out = out;
}

/* Write the digests of all pieces. Lanes run together as far as the shortest of them has whole blocks. */
static void hash_all(const Py_buffer *pieces, size_t count, uint8_t *out)
{
    Lane places[LANES], *lanes[LANES];
    size_t next = 0;
    int running = 0;
    for (int i = 0; i < LANES; i++)
        lanes[i] = &places[i];
    for (;;) {
        /* Of four pieces that are left two and two are sooner done than three and one. */
        const int width = !running && count - next == 4 ? 2 : LANES;
        while (running < width && next < count) {
            begin(lanes[running++], &pieces[next], out + next * DIGEST);
            next++;
        }
        if (!running)
            return;
        size_t blocks = lanes[0]->left / BLOCK;
        for (int i = 1; i < running; i++)
            if (lanes[i]->left / BLOCK < blocks)
                blocks = lanes[i]->left / BLOCK;
        if (blocks)
            TAKE[running](lanes, blocks);
        for (int i = running - 1; i >= 0; i--)
            if (lanes[i]->left < BLOCK) {
                Lane *const over = lanes[i];
                finish(over);
                lanes[i] = lanes[--running];
                lanes[running] = over;
            }
    }
}

/* The same, while others may run where it takes long. */
static void hash_beside_others(const Py_buffer *pieces, Py_ssize_t count, uint8_t *out)
{
    size_t bytes = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        bytes += (size_t)pieces[i].len;
    if (bytes < FREES) {
        hash_all(pieces, (size_t)count, out);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    hash_all(pieces, (size_t)count, out);
    Py_END_ALLOW_THREADS
}

static PyObject *hexadecimal(const uint8_t digest[DIGEST])
{
    static const char DIGITS[] = "0123456789abcdef";
    PyObject *text = PyUnicode_New(2 * DIGEST, 127);
    if (text) {
        Py_UCS1 *at = PyUnicode_1BYTE_DATA(text);
        for (int i = 0; i < DIGEST; i++) {
            *at++ = (Py_UCS1)DIGITS[digest[i] >> 4];
            *at++ = (Py_UCS1)DIGITS[digest[i] & 15];
        }
    }
    return text;
}

/* Return the digests of `count` pieces as a list of texts, NULL with an error set. */
static PyObject *digests_of(const Py_buffer *pieces, Py_ssize_t count)
{
    uint8_t *out = PyMem_Malloc(count ? (size_t)count * DIGEST : 1);
    if (!out)
        return PyErr_NoMemory();
    hash_beside_others(pieces, count, out);
    PyObject *found = PyList_New(count);
    for (Py_ssize_t i = 0; found && i < count; i++) {
        PyObject *text = hexadecimal(out + i * DIGEST);
        if (!text)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, i, text);
    }
    PyMem_Free(out);
    return found;
}

PyDoc_STRVAR(each_doc, "sha256_each(pieces, /)\n--\n\nReturn the SHA-256 of each of a list's pieces in hexadecimal.");

static PyObject *sha256_each(PyObject *Py_UNUSED(module), PyObject *given)
{
    if (!PyList_Check(given))
        return PyErr_Format(PyExc_TypeError, "pieces must be a list, not %s", Py_TYPE(given)->tp_name);
    const Py_ssize_t count = PyList_GET_SIZE(given);
    Py_ssize_t held = 0;
    PyObject *found = NULL;
    Py_buffer *pieces = PyMem_Calloc(count ? (size_t)count : 1, sizeof *pieces);
    if (!pieces)
        return PyErr_NoMemory();
    /* Asking for a buffer may run Python, which may change the list and let go of what is asked. */
    while (held < count && held < PyList_GET_SIZE(given)) {
        PyObject *const piece = PyList_GET_ITEM(given, held);
        Py_INCREF(piece);
        const int failed = PyObject_GetBuffer(piece, &pieces[held], PyBUF_SIMPLE);
        Py_DECREF(piece);
        if (failed)
            break;
        held++;
    }
    if (held == count)
        found = digests_of(pieces, count);
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the list of pieces changed meanwhile");
    while (held)
        PyBuffer_Release(&pieces[--held]);
    PyMem_Free(pieces);
    return found;
}

PyDoc_STRVAR(one_doc, "sha256_hex(data, /)\n--\n\nReturn the SHA-256 of bytes in hexadecimal.");

static PyObject *sha256_hex(PyObject *Py_UNUSED(module), PyObject *data)
{
    Py_buffer piece;
    uint8_t out[DIGEST];
    if (PyObject_GetBuffer(data, &piece, PyBUF_SIMPLE))
        return NULL;
    hash_beside_others(&piece, 1, out);
    PyBuffer_Release(&piece);
    return hexadecimal(out);
}

/* Take the block of a key with one of RFC 2104's pads. */
static void absorb(uint32_t state[8], const uint8_t key[BLOCK], uint8_t pad)
{
    uint8_t block[BLOCK];
    Lane lane = {.at = block, .left = BLOCK}, *const alone[] = {&lane};
    for (int i = 0; i < BLOCK; i++)
        block[i] = key[i] ^ pad;
    memcpy(lane.state, INITIAL, sizeof INITIAL);
    one(alone, 1);
    memcpy(state, lane.state, sizeof lane.state);
}

PyDoc_STRVAR(state_doc, "hmac_state(key, /)\n--\n\nReturn what hmac_hex needs of a key of at most 64 bytes: both pads absorbed.");

static PyObject *hmac_state(PyObject *Py_UNUSED(module), PyObject *key)
{
    uint8_t block[BLOCK] = {0};
    uint32_t states[2][8];
    if (!PyBytes_Check(key) || PyBytes_GET_SIZE(key) > BLOCK)
        return PyErr_Format(PyExc_ValueError, "a key is at most %d bytes", BLOCK);
    memcpy(block, PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key));
    absorb(states[0], block, 0x36);
    absorb(states[1], block, 0x5C);
    return PyBytes_FromStringAndSize((const char *)states, sizeof states);
}

PyDoc_STRVAR(hmac_doc, "hmac_hex(state, text, /)\n--\n\nReturn HMAC-SHA256 of bytes in hexadecimal, under the key of a state.");

static PyObject *hmac_hex(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_Check(given[0]) || !PyBytes_Check(given[1]))
        return PyErr_Format(PyExc_TypeError, "a state and a text are wanted, both bytes");
    if (PyBytes_GET_SIZE(given[0]) != 2 * DIGEST)
        return PyErr_Format(PyExc_ValueError, "a state is %d bytes", 2 * DIGEST);
    const char *state = PyBytes_AS_STRING(given[0]);
    uint8_t digest[DIGEST];
    Lane lane = {.at = (const uint8_t *)PyBytes_AS_STRING(given[1]), .left = (size_t)PyBytes_GET_SIZE(given[1]), .out = digest};
    lane.all = BLOCK + lane.left;
    memcpy(lane.state, state, DIGEST);
    finish(&lane);
    Lane outer = {.at = digest, .left = DIGEST, .all = BLOCK + DIGEST, .out = digest};
    memcpy(outer.state, state + DIGEST, DIGEST);
    finish(&outer);
    return hexadecimal(digest);
}

static PyMethodDef METHODS[] = {
    {"sha256_each", sha256_each, METH_O, each_doc},
    {"sha256_hex", sha256_hex, METH_O, one_doc},
    {"hmac_state", hmac_state, METH_O, state_doc},
    {"hmac_hex", (PyCFunction)(void (*)(void))hmac_hex, METH_FASTCALL, hmac_doc},
    {NULL, NULL, 0, NULL},
};

static int has_instructions(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

#else

static PyMethodDef METHODS[] = {{NULL, NULL, 0, NULL}};
static int has_instructions(void) { return 0; }

#endif

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "gateway.signing._lanes", "SHA-256 of many pieces at once; gateway.signing.digests is what to import.", -1, METHODS,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__lanes(void)
{
    if (!has_instructions()) {
        PyErr_SetString(PyExc_ImportError, "this processor has no SHA instructions");
        return NULL;
    }
    return PyModule_Create(&MODULE);
}
