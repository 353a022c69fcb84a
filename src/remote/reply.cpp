#include "src/remote/reply.hpp"

#include <hiredis/read.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "lock/number.hpp"

namespace cachectl::remote {

namespace {

/// More than any value that we store under one name, and what surrounds it.
constexpr std::size_t kLargestReply = std::size_t{16} << 20U;
constexpr int kMostElements = 4096;
/// So much room stays when all is taken: to get it anew for each batch costs more than the batch.
constexpr std::size_t kKeptRoom = std::size_t{1} << 20U;
constexpr std::size_t kSpareText = 64 * 1024;
/// What one read takes.
constexpr std::size_t kBlock = 256 * 1024;
/// hiredis moves all that it has after each reply of 1 KiB or more: fed with all of a block, it
/// spends a third of the time of a batch on that.
constexpr std::size_t kPiece = 4096;

void append_number(std::string& text, char kind, std::size_t number) {
  char line[24] = {kind};
  auto* end = std::to_chars(line + 1, line + sizeof line - 2, number).ptr;
  *end++ = '\r';
  *end++ = '\n';
  text.append(line, end);
}

/// Gives a new reply to the array that it is in, if any. The reader owns the outermost.
void* placed(const redisReadTask* task, std::unique_ptr<Reply> reply) {
  if (task->parent == nullptr) return reply.release();
  auto& siblings = static_cast<Reply*>(task->parent->obj)->elements;
  siblings.push_back(std::move(reply));
  return siblings.back().get();
}

std::unique_ptr<Reply> made(std::unique_ptr<Reply>& spare, Reply::Type type) {
  auto reply = spare ? std::move(spare) : std::make_unique<Reply>();
  reply->type = type;
  return reply;
}

std::unique_ptr<Reply> made(const redisReadTask* task, Reply::Type type) {
  return made(*static_cast<std::unique_ptr<Reply>*>(task->privdata), type);
}

void* create_string(const redisReadTask* task, char* text, std::size_t size) {
  auto reply = made(task, task->type == REDIS_REPLY_ERROR    ? Reply::Type::error
                          : task->type == REDIS_REPLY_STATUS ? Reply::Type::status
                                                             : Reply::Type::string);
  reply->text.assign(text, size);
  return placed(task, std::move(reply));
}

void* create_array(const redisReadTask* task, int elements) {
  // Null makes the reader fail: a server that announces so many is none.
  if (elements > kMostElements) return nullptr;
  return placed(task, made(task, Reply::Type::array));
}

void* create_integer(const redisReadTask* task, long long value) {
  auto reply = made(task, Reply::Type::integer);
  reply->integer = value;
  return placed(task, std::move(reply));
}

void* create_nil(const redisReadTask* task) { return placed(task, made(task, Reply::Type::nil)); }

void free_reply(void* reply) { delete static_cast<Reply*>(reply); }

constexpr redisReplyObjectFunctions kReplyFunctions{create_string, create_array, create_integer,
                                                    create_nil, free_reply};

}  // namespace

Commands& Commands::add(std::span<const std::string_view> arguments) {
  append_number(bytes_, '*', arguments.size());
  for (const auto argument : arguments) {
    append_number(bytes_, '$', argument.size());
    bytes_.append(argument);
    bytes_ += "\r\n";
  }
  ends_.push_back(bytes_.size());
  return *this;
}

Commands& Commands::add_encoded(std::string_view command) {
  bytes_.append(command);
  ends_.push_back(bytes_.size());
  return *this;
}

ReplyReader::ReplyReader()
    // The reader takes them as non-const, and does not change them.
    : reader_(::redisReaderCreateWithFunctions(
          const_cast<redisReplyObjectFunctions*>(&kReplyFunctions))) {
  failed_ = reader_ == nullptr;
  if (!failed_) reader_->maxbuf = kKeptRoom;
}

void ReplyReader::Free::operator()(redisReader* reader) const { ::redisReaderFree(reader); }

std::span<std::byte> ReplyReader::room() {
  if (unfed_.size() > kBlock / 2) feed(std::exchange(unfed_, {}));
  block_.resize(kBlock);
  std::copy(unfed_.begin(), unfed_.end(), block_.begin());
  unfed_ = lock::Bytes(block_).first(unfed_.size());
  return std::span(block_).subspan(unfed_.size());
}

void ReplyReader::received(std::size_t size) {
  unfed_ = lock::Bytes(block_).first(unfed_.size() + size);
}

void ReplyReader::feed(lock::Bytes part) {
  if (failed_ || part.empty()) return;
  pending_ += part.size();
  failed_ = ::redisReaderFeed(reader_.get(), reinterpret_cast<const char*>(part.data()),
                              part.size()) != REDIS_OK;
}

/// What comes next, if that is a short string, as most of what we ask for: hiredis would copy it
/// twice more. `is_cut`: it is one, and the rest has to come.
std::unique_ptr<Reply> ReplyReader::short_string(bool& is_cut) {
  constexpr std::size_t kLongestHead = 16;
  constexpr std::string_view kEnd = "\r\n";
  const std::string_view rest(reinterpret_cast<const char*>(unfed_.data()), unfed_.size());
  if (!rest.starts_with('$')) return nullptr;
  const auto head = rest.substr(0, kLongestHead).find(kEnd);
  is_cut = head == rest.npos && rest.size() < kLongestHead;
  std::size_t size = 0;
  if (head == rest.npos || !parse_number(rest.substr(1, head - 1), size) || size > kBlock / 2) {
    return nullptr;
  }
  const auto text = head + kEnd.size();
  const auto end = text + size + kEnd.size();
  is_cut = rest.size() < end;
  if (is_cut) return nullptr;
  failed_ = rest.substr(text + size, kEnd.size()) != kEnd;
  if (failed_) return nullptr;
  auto reply = made(spare_, Reply::Type::string);
  reply->text.assign(rest.substr(text, size));
  unfed_ = unfed_.subspan(end);
  return reply;
}

std::unique_ptr<Reply> ReplyReader::next() {
  if (failed_) return nullptr;
  if (reader_->ridx == -1 && reader_->pos == reader_->len) {
    bool is_cut = false;
    auto reply = short_string(is_cut);
    if (reply != nullptr || is_cut) return reply;
  }
  reader_->privdata = &spare_;
  while (true) {
    void* reply = nullptr;
    if (failed_ || ::redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) {
      failed_ = true;
      return nullptr;
    }
    if (reply != nullptr) {
      pending_ = reader_->len - reader_->pos;
      return std::unique_ptr<Reply>(static_cast<Reply*>(reply));
    }
    if (pending_ > kLargestReply) failed_ = true;
    if (unfed_.empty()) return nullptr;
    const auto piece = unfed_.first(std::min(kPiece, unfed_.size()));
    unfed_ = unfed_.subspan(piece.size());
    feed(piece);
  }
}

void ReplyReader::give_back(std::unique_ptr<Reply> reply) {
  if (reply->text.capacity() > kSpareText) return;
  reply->text.clear();
  reply->integer = 0;
  reply->elements.clear();
  spare_ = std::move(reply);
}

bool ReplyReader::is_empty() const { return reader_->pos == reader_->len && unfed_.empty(); }

}  // namespace cachectl::remote
