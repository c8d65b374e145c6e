# Plays Homebrew: formula.rb FORMULA UNPACKED PREFIX. Prints what would be downloaded on each
# system, then installs from the folder UNPACKED into PREFIX, and fails if the formula does.

require "fileutils"
require "json"

class Formula
  class << self
    attr_reader :downloads, :settings

    def inherited(formula)
      formula.instance_variable_set(:@downloads, {})
      formula.instance_variable_set(:@settings, {})
      formula.instance_variable_set(:@where, [])
      $formula = formula
    end

    %i[desc homepage version license].each do |name|
      define_method(name) { |value| @settings[name] = value }
    end

    %i[on_macos on_linux on_intel on_arm].each do |name|
      define_method(name) do |&block|
        @where.push(name)
        class_eval(&block)
        @where.pop
      end
    end

    def url(value) = (@downloads[@where.join(".")] = { url: value })
    def sha256(value) = (@downloads.fetch(@where.join("."))[:sha256] = value)
    def test(&block) = (@settings[:test] = block)
  end

  # A folder of the prefix that things are installed into.
  Place = Struct.new(:path) do
    def install(*what)
      FileUtils.mkdir_p(path)
      what.flatten.each do |one|
        (one.is_a?(Hash) ? one : { one => File.basename(one) }).each do |from, to|
          FileUtils.cp(from, File.join(path, to))
        end
      end
    end

    def to_s = path
  end

  { bin: "bin", man1: "share/man/man1", bash_completion: "etc/bash_completion.d",
    fish_completion: "share/fish/vendor_completions.d",
    zsh_completion: "share/zsh/site-functions" }.each do |name, folder|
    define_method(name) { Place.new(File.join(ARGV[2], folder)) }
  end

  def version = self.class.settings[:version]
  def shell_output(command) = `#{command}`.tap { $?.success? or raise command }
  def assert_match(expected, actual) = actual.include?(expected) || raise("#{actual} lacks #{expected}")
end

load ARGV[0]
formula = $formula
raise "no description" unless formula.settings.values_at(:desc, :homepage, :license).all?
unpacked = File.expand_path(ARGV[1])
Dir.chdir(unpacked) { formula.new.install }
puts JSON.generate(formula.downloads)
