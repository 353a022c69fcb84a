#include "src/refresh/capture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "lock/deadline.hpp"
#include "lock/retry.hpp"
#include "src/config/duration.hpp"
#include "src/refresh/follower.hpp"

namespace cachectl::refresh {

namespace {

using lock::Bytes;

constexpr std::size_t kBlock = 256 * 1024;
constexpr int kPipeSize = 1024 * 1024;

struct Pipe {
  lock::Fd read;
  lock::Fd write;

  static Result<Pipe> make() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error("pipe"));
    ::fcntl(ends[0], F_SETPIPE_SZ, kPipeSize);  // fewer switches; no matter if refused
    return Pipe{lock::Fd(ends[0]), lock::Fd(ends[1])};
  }
};

/// One stream of the source: recorded and followed, or, once that fails, passed on
/// directly.
///
///   recording --failure--> direct --the consumer went away--> draining
class StreamCapture {
 public:
  StreamCapture(int to, std::string name, RunObserver* observer)
      : to_(to), name_(std::move(name)), observer_(observer) {}
  virtual ~StreamCapture() = default;
  StreamCapture(const StreamCapture&) = delete;
  StreamCapture& operator=(const StreamCapture&) = delete;

  void take(Bytes data) {
    size_ += data.size();
    if (!not_recorded_) {
      if (auto recorded = record(data); !recorded) {
        not_recorded_ = std::move(recorded).error();
        // What cannot be recorded cannot be held back either.
        pass_on();
        stop_following();
        give_up();
      } else {
        recorded_ += data.size();
        if (follower_) announce();
        if (follower_) follower_->advance(data.size());
        return;
      }
    }
    if (to_ < 0 || not_passed_on_) return;
    announce();
    auto written = lock::write_all(to_, data, name_);
    if (!written) not_passed_on_ = std::move(written).error();
  }

  /// The rest cannot be had: what there is must not pass for the whole.
  void lose_rest(const Error& why) {
    if (!not_recorded_) not_recorded_ = why;
  }

  /// The consumer is to have what was held back, and all that follows.
  void pass_on() {
    if (from_ < 0 || follower_) return;
    announce();
    follower_ = std::make_unique<Follower>(from_, offset_, to_, name_);
    follower_->advance(recorded_);
  }

  /// Waits until the consumer has everything.
  void stop_following() {
    from_ = -1;
    if (!follower_) return;
    auto finished = follower_->finish();
    if (!finished) not_passed_on_ = std::move(finished).error();
    follower_.reset();
  }

  /// False: it is neither recorded nor read by anybody any more.
  [[nodiscard]] bool is_wanted() const { return !not_recorded_ || !not_passed_on_; }

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::optional<Error>& not_recorded() const { return not_recorded_; }
  [[nodiscard]] const std::optional<Error>& not_passed_on() const { return not_passed_on_; }

 protected:
  virtual Result<void> record(Bytes data) = 0;
  /// Nothing more is recorded, and what was is of no use: the disk is to have its room back.
  virtual void give_up() = 0;
  void follow(int from, std::uint64_t offset, bool hold_back) {
    if (to_ < 0) return;
    from_ = from;
    offset_ = offset;
    if (hold_back) return;
    follower_ = std::make_unique<Follower>(from_, offset_, to_, name_);
  }
  void do_not_record(Error why) { not_recorded_ = std::move(why); }

 private:
  /// Before anything is written to the consumer.
  void announce() {
    if (observer_ != nullptr) observer_->passes_on(to_);
  }

  int to_;
  std::string name_;
  RunObserver* observer_;
  int from_ = -1;  // the file that it is recorded in; -1: nobody is to have it
  std::uint64_t offset_ = 0;
  std::uint64_t recorded_ = 0;
  std::uint64_t size_ = 0;
  std::unique_ptr<Follower> follower_;
  std::optional<Error> not_recorded_;
  std::optional<Error> not_passed_on_;
};

Error nothing_to_record_in() { return {Errc::io, 0, "no record", {}}; }

class OutputCapture final : public StreamCapture {
 public:
  OutputCapture(store::RecordWriter* writer, const Sink& sink, RunObserver* observer)
      : StreamCapture(sink.output, "standard output", observer), writer_(writer) {
    if (writer_ == nullptr) {
      do_not_record(nothing_to_record_in());
    } else {
      follow(writer_->descriptor(), writer_->payload_offset(), sink.hold_back);
    }
  }

 private:
  Result<void> record(Bytes data) override {
    CACHECTL_TRY(writer_->append_output(data));
    return writer_->flush();
  }
  void give_up() override { writer_->give_up(); }
  store::RecordWriter* writer_;
};

/// Most sources say nothing here: the file is made with the first byte.
class ErrorCapture final : public StreamCapture {
 public:
  ErrorCapture(const store::Root* root, bool recording, int to, RunObserver* observer)
      : StreamCapture(to, "standard error", observer), root_(root) {
    if (!recording) do_not_record(nothing_to_record_in());
  }

  /// Behind the output, once all of that is known.
  Result<void> append_to(store::RecordWriter& writer) {
    std::vector<std::byte> block(recorded_size_ > 0 ? kBlock : 0);
    for (std::uint64_t at = 0; at < recorded_size_;) {
      CACHECTL_ASSIGN(const std::size_t got,
                      lock::read_full_at(file_->descriptor(), block, at, file_->path()));
      if (got == 0) return fail(Errc::corrupt, file_->path() + ": cut off");
      CACHECTL_TRY(writer.append_errors(Bytes(block).first(got)));
      at += got;
    }
    return writer.flush();
  }

 private:
  Result<void> record(Bytes data) override {
    if (!file_) {
      CACHECTL_ASSIGN(auto staging, root_->writable(store::Root::kStaging));
      staging_ = std::make_unique<lock::Directory>(std::move(staging));
      CACHECTL_ASSIGN(auto file, lock::StagedFile::create(*staging_, root_->file_mode()));
      CACHECTL_TRY(file.make_anonymous());
      file_ = std::make_unique<lock::StagedFile>(std::move(file));
      follow(file_->descriptor(), 0, false);
    }
    CACHECTL_TRY(lock::write_all_at(file_->descriptor(), data, recorded_size_, file_->path()));
    recorded_size_ += data.size();
    return {};
  }
  void give_up() override { file_.reset(); }

  const store::Root* root_;
  std::unique_ptr<lock::Directory> staging_;
  std::unique_ptr<lock::StagedFile> file_;
  std::uint64_t recorded_size_ = 0;
};

/// Reads once from a pipe into the capture; false at the end. Without a reader, the source is told
/// by SIGPIPE that nobody wants what it says.
bool drain_once(const lock::Fd& pipe, std::span<std::byte> block, StreamCapture& capture) {
  const auto got = lock::read_some(pipe.get(), block, "pipe");
  if (!got) capture.lose_rest(got.error());
  if (!got || *got == 0) return false;
  capture.take(block.first(*got));
  return capture.is_wanted();
}

/// A source at work: drains both pipes to their ends while passing signals on, and ends it
/// when its time is over.
class Watch {
 public:
  Watch(const lock::Child& child, const lock::SignalTrap* trap, std::chrono::nanoseconds longest,
        RunObserver* observer)
      : child_(&child),
        trap_(trap),
        deadline_(lock::Deadline::after(longest)),
        observer_(observer) {}

  void drain(Pipe& output, Pipe& errors, OutputCapture& output_capture,
             ErrorCapture& error_capture) {
    const lock::Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, child_->pid(), 0)));
    std::vector<std::byte> block(kBlock);
    // One that closes its streams and goes on has a time limit, and an observer, all the same.
    bool lives = (!deadline_.is_never() || observer_ != nullptr) && ended.valid();
    while (output.read.valid() || errors.read.valid() || lives) {
      const bool hurried = request_ != 0 || timed_out_;
      std::array<pollfd, 4> watched{{{output.read.get(), POLLIN, 0},
                                     {errors.read.get(), POLLIN, 0},
                                     {trap_ != nullptr ? trap_->descriptor() : -1, POLLIN, 0},
                                     {hurried || lives ? ended.get() : -1, POLLIN, 0}}};
      if (::poll(watched.data(), watched.size(), patience()) < 0) {
        if (errno == EINTR) continue;
        const auto why = system_error("wait for the output of the command");
        output_capture.lose_rest(why);
        error_capture.lose_rest(why);
        output.read.reset();  // or the source would wait for us, and we for it
        errors.read.reset();
        break;
      }
      if (watched[0].revents != 0 && !drain_once(output.read, block, output_capture)) {
        output.read.reset();
      }
      if (watched[1].revents != 0 && !drain_once(errors.read, block, error_capture)) {
        errors.read.reset();
      }
      if (trap_ != nullptr && watched[2].revents != 0) {
        if (const int asked = child_->forward(*trap_); asked != 0) request_ = asked;
      }
      const bool quiet = watched[0].revents == 0 && watched[1].revents == 0;
      if (watched[3].revents != 0) lives = false;
      // It was asked to end and has: whatever it left behind may hold the pipes open for as
      // long as it likes.
      if (watched[3].revents != 0 && quiet && hurried) break;
      end_when_late();
      tell();
    }
    if (observer_ != nullptr) observer_->ran();
  }

  [[nodiscard]] int interrupted_by() const { return request_; }
  [[nodiscard]] bool timed_out() const { return timed_out_; }

 private:
  using Clock = lock::Deadline::Clock;
  static constexpr std::chrono::seconds kGrace{5};
  static constexpr std::chrono::seconds kTellEach{1};

  /// For poll(2).
  [[nodiscard]] int patience() const {
    if (deadline_.is_never() && observer_ == nullptr) return -1;
    auto until = observer_ != nullptr ? next_told_ : Clock::time_point::max();
    if (!deadline_.is_never()) until = std::min(until, deadline_.at());
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
  }

  void tell() {
    if (observer_ == nullptr) return;
    const auto now = Clock::now();
    if (now < next_told_) return;
    next_told_ = now + kTellEach;
    observer_->runs(now - started_);
  }

  void end_when_late() {
    if (!deadline_.passed()) return;
    child_->send(timed_out_ ? SIGKILL : SIGTERM);
    // One that is stopped, as by a read from the terminal, would not hear it.
    child_->send(SIGCONT);
    deadline_ = timed_out_ ? lock::Deadline::never() : lock::Deadline::after(kGrace);
    timed_out_ = true;
  }

  const lock::Child* child_;
  const lock::SignalTrap* trap_;
  lock::Deadline deadline_;
  RunObserver* observer_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point next_told_ = started_ + kTellEach;
  int request_ = 0;  // the signal that asked us to end
  bool timed_out_ = false;
};

/// Whoever loses his parent among the descendants of this process becomes its child, so that
/// it can tell what a source leaves behind.
void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

/// What a source that has ended left behind; nullopt: nothing.
std::optional<Error> left_behind() {
  pid_t ended = 0;
  do {
    ended = lock::retry([] { return ::waitpid(-1, nullptr, WNOHANG); });
  } while (ended > 0);
  if (ended < 0) return std::nullopt;  // no children at all
  return Error{Errc::io, 0, "the source has left processes behind, which may still change it",
               "let it wait for them, or end them"};
}

}  // namespace

Result<Captured> capture(const Source& source, const Hold& hold, const Sink& sink,
                         store::RecordWriter* writer, const store::Root* root, bool pass_signals,
                         const std::function<bool(const Captured&)>& on_end) {
  CACHECTL_ASSIGN(Pipe output, Pipe::make());
  CACHECTL_ASSIGN(Pipe errors, Pipe::make());
  std::optional<lock::SignalTrap> trap;
  if (pass_signals) {
    CACHECTL_ASSIGN(auto created, lock::SignalTrap::create());
    trap.emplace(std::move(created));
  }

  lock::Command command;
  command.argv = source.argv;
  command.environment = source.environment;
  command.environment.insert(command.environment.end(), hold.environment.begin(),
                             hold.environment.end());
  command.directory = source.directory;
  command.null_input = true;
  command.output = source.makes_tree ? errors.write.get() : output.write.get();
  command.error = errors.write.get();
  command.keep_open = hold.descriptors;
  command.die_with_parent = true;
  command.own_group = source.longest != std::chrono::nanoseconds::max();
  const auto started = std::chrono::steady_clock::now();
  // Only a program that is nothing but this has no other children.
  const bool alone = source.makes_tree && pass_signals;
  if (alone) adopt_orphans();
  RunObserver* const observer =
      sink.observer != nullptr && sink.observer->starts() ? sink.observer : nullptr;
  CACHECTL_ASSIGN(auto child, lock::Child::spawn(command, trap ? &trap->previous_mask() : nullptr));
  output.write.reset();
  errors.write.reset();

  OutputCapture output_capture(writer, sink, observer);
  ErrorCapture error_capture(root, writer != nullptr, sink.errors, observer);
  Captured result;
  Watch watch(child, trap ? &*trap : nullptr, source.longest, observer);
  watch.drain(output, errors, output_capture, error_capture);
  result.interrupted_by = watch.interrupted_by();
  if (watch.timed_out()) {
    result.timed_out = {Errc::timeout,
                        0,
                        "the source ran for longer than " +
                            config::format_duration(source.longest) + " and was ended",
                        {}};
  }
  if (trap && result.interrupted_by != 0) trap->keep_blocked();
  result.output_size = output_capture.size();
  CACHECTL_ASSIGN(result.status, child.wait(trap ? &*trap : nullptr));
  result.duration = std::chrono::steady_clock::now() - started;

  if (alone && result.status.value == 0) result.not_recorded = left_behind();
  if (!result.not_recorded) result.not_recorded = output_capture.not_recorded();
  if (!result.not_recorded) result.not_recorded = error_capture.not_recorded();
  if (!result.not_recorded) {
    auto appended = error_capture.append_to(*writer);
    if (!appended) result.not_recorded = std::move(appended).error();
  }
  if (on_end(result)) output_capture.pass_on();
  output_capture.stop_following();
  error_capture.stop_following();
  result.not_passed_on = output_capture.not_passed_on();
  if (!result.not_passed_on) result.not_passed_on = error_capture.not_passed_on();
  return result;
}

}  // namespace cachectl::refresh
