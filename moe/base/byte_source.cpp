// SPDX-License-Identifier: MIT
#include "moe/base/byte_source.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "moe/base/compress.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"

namespace moe {

namespace {
constexpr size_t kBuffer = size_t{256} << 10;
}

/// Turns bytes of the file into bytes of its content.
class ByteSource::Decoder {
 public:
  explicit Decoder(ByteSource& source) : source_(source) {}
  virtual ~Decoder() = default;
  virtual size_t read(std::span<char> out) = 0;

 protected:
  std::span<char> input() {
    return std::span(source_.buffer_).subspan(source_.at_, source_.end_ - source_.at_);
  }
  /// More input than there was, unless the file is at its end.
  std::span<char> more_input() {
    source_.refill();
    return input();
  }
  void take(size_t n) { source_.at_ += n; }
  [[noreturn]] void ends_early(std::string_view kind) const {
    throw Error(str("[data] ", printable(source_.path_), ": the ", kind,
                    " data ends too early; the file is incomplete"));
  }
  [[noreturn]] void damaged(std::string_view kind, const char* why) const {
    throw Error(str("[data] ", printable(source_.path_), ": the ", kind, " data is damaged (",
                    why ? why : "unknown reason", ")"));
  }

 private:
  ByteSource& source_;
};

class ByteSource::Plain : public Decoder {
 public:
  using Decoder::Decoder;
  size_t read(std::span<char> out) override {
    std::span<char> in = input();
    if (in.empty()) in = more_input();
    const size_t n = std::min(in.size(), out.size());
    std::memcpy(out.data(), in.data(), n);
    take(n);
    return n;
  }
};

/// Several members one after another are one content, as gunzip reads them.
class ByteSource::Gzip : public Decoder {
 public:
  explicit Gzip(ByteSource& source) : Decoder(source) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() override { inflateEnd(&stream_); }

  size_t read(std::span<char> out) override {
    while (!done_ && !out.empty()) {
      std::span<char> in = input();
      if (in.empty()) in = more_input();
      if (in.empty()) ends_early("gzip");
      stream_.next_in = reinterpret_cast<Bytef*>(in.data());
      stream_.avail_in = static_cast<uInt>(in.size());
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), size_t{1} << 30));
      const uInt room = stream_.avail_out;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        damaged("gzip", stream_.msg);
      take(in.size() - stream_.avail_in);
      if (status == Z_STREAM_END) next_member();
      if (stream_.avail_out < room) return room - stream_.avail_out;
    }
    return 0;
  }

 private:
  void next_member() {
    std::span<char> in = input();
    if (in.size() < 2) in = more_input();
    done_ = compression_of({in.data(), in.size()}) != Compression::gzip;  // padding may follow
    if (!done_) {
      const uInt left = stream_.avail_out;
      inflateReset(&stream_);
      stream_.avail_out = left;
    }
  }

  z_stream stream_{};
  bool done_ = false;
};

class ByteSource::Zstd : public Decoder {
 public:
  explicit Zstd(ByteSource& source) : Decoder(source), context_(ZSTD_createDCtx(), ZSTD_freeDCtx) {
    if (!context_) throw std::bad_alloc();
    constexpr int kWindowLog = 27;  // 128 MiB, as the zstd program allows
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kWindowLog);
  }
  size_t read(std::span<char> out) override {
    for (;;) {
      std::span<char> in = input();
      if (in.empty()) in = more_input();
      ZSTD_inBuffer from{in.data(), in.size(), 0};
      ZSTD_outBuffer to{out.data(), out.size(), 0};
      const size_t left = ZSTD_decompressStream(context_.get(), &to, &from);
      if (ZSTD_isError(left)) damaged("zstd", ZSTD_getErrorName(left));
      take(from.pos);
      if (to.pos > 0) {
        inside_frame_ = left > 0;
        return to.pos;
      }
      if (from.pos == 0 && in.empty()) {
        if (inside_frame_) ends_early("zstd");
        return 0;
      }
      inside_frame_ = left > 0;
    }
  }

 private:
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context_;
  bool inside_frame_ = false;
};

ByteSource::ByteSource(const std::string& path) : path_(path), buffer_(kBuffer, '\0') {
  // O_NONBLOCK: opening a pipe by mistake must not wait for a writer.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0 && errno == ENOENT) throw Error(str("[fs] ", printable(path), " does not exist"));
  if (fd_ < 0) throw_io_error("open", path, errno);
  try {
    struct stat info;
    if (::fstat(fd_, &info) != 0) throw_io_error("read", path, errno);
    MOE_CHECK(S_ISREG(info.st_mode), "[fs] ", printable(path),
              S_ISDIR(info.st_mode) ? " is a folder" : " is not a regular file",
              ", expected a file");
    file_bytes_ = static_cast<uint64_t>(info.st_size);
    refill();
    switch (compression_of({buffer_.data(), end_})) {
      case Compression::none: decoder_ = std::make_unique<Plain>(*this); break;
      case Compression::gzip: decoder_ = std::make_unique<Gzip>(*this); break;
      case Compression::zstd: decoder_ = std::make_unique<Zstd>(*this); break;
    }
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

ByteSource::~ByteSource() { ::close(fd_); }

void ByteSource::refill() {
  std::memmove(buffer_.data(), buffer_.data() + at_, end_ - at_);
  end_ -= at_;
  at_ = 0;
  while (end_ < buffer_.size()) {
    const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_io_error("read", path_, errno);
    if (n == 0) break;
    end_ += static_cast<size_t>(n);
    bytes_read_ += static_cast<uint64_t>(n);
  }
}

size_t ByteSource::read(std::span<char> out) { return out.empty() ? 0 : decoder_->read(out); }

}  // namespace moe
