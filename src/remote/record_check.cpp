#include "src/remote/record_check.hpp"

namespace cachectl::remote {

namespace {

tl::unexpected<Error> not_it(std::string_view why) { return fail(Errc::corrupt, std::string(why)); }

}  // namespace

bool is_portable(const store::RecordHeader& header) {
  return header.kind == store::Kind::bytes || header.output_size > 0;
}

Result<void> RecordCheck::add(lock::Bytes part) {
  if (seen_ == 0) {
    CACHECTL_ASSIGN(header_, store::decode_header(part));
    if (store::key_in(part, header_) != key_->bytes()) return not_it("it is another key's");
    if (Stamp{header_.created, header_.generation} != stamp_) {
      return not_it("it is of another version than its frame says");
    }
    if (header_.file_size() != size_) return not_it("its size is not what its header says");
    if (!is_portable(header_)) return not_it("it refers to a tree, which is not in it");
    const auto payload = part.subspan(header_.payload_offset());
    if (part.size() == size_) {
      first_sum_ = checksum_of(payload);
    } else {
      sum_.emplace().add(payload);
    }
  } else {
    sum_->add(part);
  }
  seen_ += part.size();
  return {};
}

Result<void> RecordCheck::finish() const {
  if (seen_ != size_) return not_it("its size is not what its frame says");
  const auto sum = sum_ ? sum_->value() : first_sum_;
  if (sum != header_.payload_checksum) return not_it("the checksum of its value is wrong");
  return {};
}

}  // namespace cachectl::remote
