# Makes the calls of the AWS SDK for Ruby that Mastodon makes for its media, by its attachments (Paperclip) and its jobs.
#
#   ruby mastodon.rb ENDPOINT REGION BUCKET PERMISSION      the key comes from the environment; PERMISSION may be empty
require 'aws-sdk-s3'
require 'net/http'
require 'securerandom'
require 'tempfile'

endpoint, region, bucket, permission = ARGV
options = {
  endpoint: endpoint, region: region, force_path_style: true, signature_version: 'v4',
  http_open_timeout: 5, http_read_timeout: 5, http_idle_timeout: 5, retry_limit: 0
}
s3 = Aws::S3::Resource.new(client: Aws::S3::Client.new(options))
bucket = s3.bucket(bucket)

def check(holds, what)
  raise "not so: #{what}" unless holds
end

def visit(object)
  Net::HTTP.get_response(URI(object.public_url))
end

write = {
  content_type: 'image/png', cache_control: 'public, max-age=315576000, immutable', multipart_threshold: 15 * 1024 * 1024
}
write[:acl] = permission unless permission.empty?

bodies = { 'media/small.png' => SecureRandom.bytes(5000), 'media/video.png' => SecureRandom.bytes(20 * 1024 * 1024) }
bodies.each do |key, body|
  Tempfile.create do |file|
    file.binmode
    file.write(body)
    file.flush
    bucket.object(key).upload_file(file.path, **write)
  end
  seen = visit(bucket.object(key))
  check(seen.code == '200', "a visitor sees #{key}: #{seen.code} #{seen.body[0, 200]}")
  check(seen.body == body, 'as it was uploaded')
  check(seen['Content-Type'] == 'image/png' && seen['Cache-Control'].include?('immutable'), 'with its headers')
end
check(!bucket.object('media/none').exists?, 'what is not there')
check(Net::HTTP.get_response(URI(bucket.url)).code == '403', 'nobody lists the bucket')

# An account is suspended, and comes back.
unless permission.empty?
  object = bucket.object('media/small.png')
  object.acl.put(acl: 'private')
  check(visit(object).code == '403', 'hidden while the account is suspended')
  check(Net::HTTP.get_response(URI(object.presigned_url(:get))).code == '200', 'but not for moderators')
  object.acl.put(acl: permission)
  check(visit(object).code == '200', 'seen again')
end

# Old media go, many at a time; and the command that looks for orphans lists all.
check(bucket.objects(prefix: 'media/', max_keys: 1).map(&:key) == bodies.keys, 'lists page by page')
bucket.delete_objects(delete: { objects: bodies.keys.map { |key| { key: key } }, quiet: true })
check(bucket.objects.count.zero?, 'all is deleted')
puts 'done'
