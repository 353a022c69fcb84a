#include "src/remote/reply.hpp"

#include <hiredis/read.h>

#include <charconv>

namespace cachectl::remote {

namespace {

/// More than any value that we store under one name, and what surrounds it.
constexpr std::size_t kLargestReply = std::size_t{16} << 20U;
constexpr int kMostElements = 4096;
/// So much room stays when all is taken: to get it anew for each batch costs more than the batch.
constexpr std::size_t kKeptRoom = std::size_t{1} << 20U;

void append_number(std::string& text, char kind, std::size_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  text += kind;
  text.append(digits, end);
  text += "\r\n";
}

/// Gives a new reply to the array that it is in, if any. The reader owns the outermost.
void* placed(const redisReadTask* task, std::unique_ptr<Reply> reply) {
  if (task->parent == nullptr) return reply.release();
  auto& siblings = static_cast<Reply*>(task->parent->obj)->elements;
  siblings.push_back(std::move(reply));
  return siblings.back().get();
}

std::unique_ptr<Reply> made(Reply::Type type) {
  auto reply = std::make_unique<Reply>();
  reply->type = type;
  return reply;
}

void* create_string(const redisReadTask* task, char* text, std::size_t size) {
  auto reply = made(task->type == REDIS_REPLY_ERROR    ? Reply::Type::error
                    : task->type == REDIS_REPLY_STATUS ? Reply::Type::status
                                                       : Reply::Type::string);
  reply->text.assign(text, size);
  return placed(task, std::move(reply));
}

void* create_array(const redisReadTask* task, int elements) {
  // Null makes the reader fail: a server that announces so many is none.
  if (elements > kMostElements) return nullptr;
  return placed(task, made(Reply::Type::array));
}

void* create_integer(const redisReadTask* task, long long value) {
  auto reply = made(Reply::Type::integer);
  reply->integer = value;
  return placed(task, std::move(reply));
}

void* create_nil(const redisReadTask* task) { return placed(task, made(Reply::Type::nil)); }

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
  ++count_;
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

bool ReplyReader::feed(lock::Bytes data) {
  if (failed_) return false;
  pending_ += data.size();
  failed_ = ::redisReaderFeed(reader_.get(), reinterpret_cast<const char*>(data.data()),
                              data.size()) != REDIS_OK;
  return !failed_;
}

std::unique_ptr<Reply> ReplyReader::next() {
  void* reply = nullptr;
  if (failed_ || ::redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) {
    failed_ = true;
    return nullptr;
  }
  if (reply != nullptr) pending_ = reader_->len - reader_->pos;
  if (reply == nullptr && pending_ > kLargestReply) failed_ = true;
  return std::unique_ptr<Reply>(static_cast<Reply*>(reply));
}

bool ReplyReader::is_empty() const { return reader_->pos == reader_->len; }

}  // namespace cachectl::remote
