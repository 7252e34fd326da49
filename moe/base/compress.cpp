// SPDX-License-Identifier: MIT
#include "moe/base/compress.h"

#include <memory>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "moe/base/error.h"

namespace moe {
namespace {

constexpr size_t kBlock = size_t{256} << 10;

void append(std::string& out, std::string_view more, uint64_t max_bytes, const std::string& what) {
  MOE_CHECK(out.size() + more.size() <= max_bytes, what, ": more than ", human_bytes(max_bytes),
            " when decompressed; cut the file into smaller ones");
  out += more;
}

std::string gunzip(std::string_view bytes, uint64_t max_bytes, const std::string& what) {
  z_stream stream{};
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  MOE_CHECK(inflateInit2(&stream, kGzipOnly) == Z_OK, what, ": zlib does not start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, inflateEnd);
  std::string out, block(kBlock, '\0');
  int status = Z_OK;
  while (!bytes.empty()) {
    const size_t part = std::min<size_t>(bytes.size(), size_t{1} << 30);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(part);
    do {
      stream.next_out = reinterpret_cast<Bytef*>(block.data());
      stream.avail_out = static_cast<uInt>(block.size());
      status = inflate(&stream, Z_NO_FLUSH);
      MOE_CHECK(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR, what,
                ": the gzip data is damaged (", stream.msg ? stream.msg : "unknown reason", ")");
      append(out, std::string_view(block).substr(0, block.size() - stream.avail_out), max_bytes,
             what);
    } while (status == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0));
    bytes.remove_prefix(part - stream.avail_in);
    if (status == Z_STREAM_END) {
      if (compression_of(bytes) != Compression::gzip) break;  // padding behind the last member
      inflateReset(&stream);
    } else if (stream.avail_in > 0) {
      break;
    }
  }
  MOE_CHECK(status == Z_STREAM_END, what, ": the gzip data ends too early; the file is incomplete");
  return out;
}

std::string unzstd(std::string_view bytes, uint64_t max_bytes, const std::string& what) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   ZSTD_freeDCtx);
  if (!context) throw std::bad_alloc();
  constexpr int kWindowLog = 27;  // 128 MiB, as the zstd program allows
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kWindowLog);
  std::string out, block(kBlock, '\0');
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  size_t left = 1;
  while (in.pos < in.size || left > 0) {
    ZSTD_outBuffer to{block.data(), block.size(), 0};
    const size_t before = in.pos;
    left = ZSTD_decompressStream(context.get(), &to, &in);
    MOE_CHECK(!ZSTD_isError(left), what, ": the zstd data is damaged (", ZSTD_getErrorName(left),
              ")");
    append(out, std::string_view(block).substr(0, to.pos), max_bytes, what);
    if (in.pos == before && to.pos == 0) break;
  }
  MOE_CHECK(left == 0, what, ": the zstd data ends too early; the file is incomplete");
  return out;
}

}  // namespace

Compression compression_of(std::string_view bytes) {
  if (starts_with(bytes, "\x1F\x8B")) return Compression::gzip;
  if (starts_with(bytes, "\x28\xB5\x2F\xFD")) return Compression::zstd;
  return Compression::none;
}

std::string decompress(std::string_view bytes, uint64_t max_bytes, const std::string& what) {
  switch (compression_of(bytes)) {
    case Compression::gzip: return gunzip(bytes, max_bytes, what);
    case Compression::zstd: return unzstd(bytes, max_bytes, what);
    case Compression::none: return std::string(bytes);
  }
  return {};
}

std::string snappy_decompress(std::string_view bytes, uint64_t size, const std::string& what) {
  size_t claimed = 0;
  MOE_CHECK(snappy_uncompressed_length(bytes.data(), bytes.size(), &claimed) == SNAPPY_OK &&
                claimed == size,
            what, ": a Snappy block of another size than the ", size, " bytes it should have");
  std::string out(claimed, 0);
  MOE_CHECK(snappy_uncompress(bytes.data(), bytes.size(), out.data(), &claimed) == SNAPPY_OK, what,
            ": a damaged Snappy block");
  return out;
}

}  // namespace moe
