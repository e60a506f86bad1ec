# The image is the binary and nothing else; `make docker` builds that first, so
# no network and no base image is needed.
#
#   docker run -d --name mesoscope --net host --hostname "$(hostname)" --user 0 \
#     -v /var/lib/docker:/var/lib/docker -v /var/run/docker.sock:/var/run/docker.sock:ro \
#     -v /sys/fs/cgroup:/sys/fs/cgroup:ro -v /var/lib/mesoscope:/var/lib/mesoscope mesoscope standalone
#
# /var/lib/docker must be writable and one mount: the logs and the folder of
# hard links (hold.dir) have to be on the same one.
FROM scratch
COPY mesoscope /mesoscope
COPY LICENSE THIRD_PARTY.md /licenses/
ENTRYPOINT ["/mesoscope"]
